/* The CPU quota of the control groups this process is in: the smallest along the path to the root, since each
 * level bounds those below it. A container sees its own group as the root of the mount, whether or not
 * /proc/self/cgroup tells the path outside. */
#include "cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST_PATH = 4096 };

/* The first one or two numbers of a small file; how many there were. */
static int read_numbers(const char *folder, const char *name, double numbers[2]) {
    char path[LONGEST_PATH];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = length < (int)sizeof path ? fopen(path, "r") : NULL;
    if (file == NULL)
        return 0;
    int count = fscanf(file, "%lf %lf", &numbers[0], &numbers[1]);
    fclose(file);
    return count > 0 ? count : 0;
}

/* Cores one folder grants; 0: no bound. */
static double quota_of(const char *folder, bool version_2) {
    double quota[2], period[2];
    if (version_2) /* "max 100000" has no number first */
        return read_numbers(folder, "cpu.max", quota) == 2 && quota[0] > 0 && quota[1] > 0 ? quota[0] / quota[1] : 0;
    bool known = read_numbers(folder, "cpu.cfs_quota_us", quota) && read_numbers(folder, "cpu.cfs_period_us", period);
    return known && quota[0] > 0 && period[0] > 0 ? quota[0] / period[0] : 0;
}

static void lower(double *least, double cores) {
    if (cores > 0 && (*least == 0 || cores < *least))
        *least = cores;
}

/* `group` below `mount`, and every folder above it down to the mount. */
static void lower_along(double *least, const char *root, const char *mount, const char *group, bool version_2) {
    char folder[LONGEST_PATH];
    size_t top = strlen(root) + strlen(mount);
    if (top + strlen(group) >= sizeof folder)
        return;
    snprintf(folder, sizeof folder, "%s%s%s", root, mount, group);
    for (;;) {
        lower(least, quota_of(folder, version_2));
        char *slash = strrchr(folder + top, '/');
        if (slash == NULL)
            return;
        *slash = '\0';
    }
}

static void lower_everywhere(double *least, const char *root, const char *group, bool version_2) {
    static const char *const mounts[2][2] = {{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct"},
                                             {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}};
    if (strstr(group, "..") != NULL) /* outside what is mounted here */
        group = "";
    for (int i = 0; i < 2; i++)
        lower_along(least, root, mounts[version_2][i], group, version_2);
}

/* Whether "cpu" is one of the comma-separated controllers. */
static bool has_cpu(const char *controllers) {
    for (const char *at = controllers; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, "cpu", 3) == 0 && (at[3] == ',' || at[3] == '\0'))
            return true;
    }
    return false;
}

double fc_cgroup_cores(const char *root) {
    char line[LONGEST_PATH];
    double least = 0;
    lower_everywhere(&least, root, "", true);
    lower_everywhere(&least, root, "", false);
    int length = snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
    FILE *file = length < (int)sizeof line ? fopen(line, "r") : NULL;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) { /* number:controllers:path */
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (group == NULL)
            continue;
        *group++ = '\0';
        if (*++controllers == '\0')
            lower_everywhere(&least, root, group, true);
        else if (has_cpu(controllers))
            lower_everywhere(&least, root, group, false);
    }
    if (file != NULL)
        fclose(file);
    return least;
}
