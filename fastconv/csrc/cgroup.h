/* The container's share of the machine. */
#ifndef FC_CGROUP_H
#define FC_CGROUP_H

/* The CPU quota of this process's control groups in cores, 0 when there is none. Version 1, 2 and both are read,
 * below `root`: "" for the running system. */
double fc_cgroup_cores(const char *root);

#endif
