"""The container's CPU quota, read from made-up trees of control groups."""

import pytest

from fastconv import _core


def tree(root, files):
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return str(root)


V2 = "sys/fs/cgroup/"
V1 = "sys/fs/cgroup/cpu/"
BOTH = "sys/fs/cgroup/cpu,cpuacct/"
GROUP = "proc/self/cgroup"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 0),
        ({V2 + "cpu.max": "max 100000\n"}, 0),
        ({V2 + "cpu.max": "150000 100000\n"}, 1.5),
        ({V2 + "cpu.max": "200000 100000\n", GROUP: "0::/\n"}, 2),
        ({V2 + "cpu.max": "nonsense\n", GROUP: "rubbish\n:\n::\n"}, 0),
        ({V2 + "cpu.max": "-1 100000\n"}, 0),
        ({V2 + "cpu.max": "100000 0\n"}, 0),
        # A group below the root of the mount, bounded itself or by one above it.
        ({V2 + "app.slice/cpu.max": "50000 100000\n", GROUP: "0::/app.slice\n"}, 0.5),
        (
            {
                V2 + "a/cpu.max": "100000 100000\n",
                V2 + "a/b/cpu.max": "300000 100000\n",
                GROUP: "0::/a/b\n",
            },
            1,
        ),
        ({V2 + "a/cpu.max": "100000 100000\n", GROUP: "0::/other\n"}, 0),
        # A container that is told its path outside, which is not mounted here.
        ({V2 + "cpu.max": "300000 100000\n", GROUP: "0::/docker/0123abcd\n"}, 3),
        ({V2 + "cpu.max": "300000 100000\n", GROUP: "0::/../outside\n"}, 3),
        # Version 1.
        ({V1 + "cpu.cfs_quota_us": "-1\n", V1 + "cpu.cfs_period_us": "100000\n"}, 0),
        ({V1 + "cpu.cfs_quota_us": "250000\n", V1 + "cpu.cfs_period_us": "100000\n"}, 2.5),
        ({V1 + "cpu.cfs_quota_us": "250000\n"}, 0),
        (
            {
                BOTH + "docker/ab/cpu.cfs_quota_us": "400000\n",
                BOTH + "docker/ab/cpu.cfs_period_us": "200000\n",
                GROUP: "5:memory:/docker/zz\n4:cpu,cpuacct:/docker/ab\n1:name=systemd:/x\n",
            },
            2,
        ),
        (
            {
                V1 + "a/cpu.cfs_quota_us": "100000\n",
                V1 + "a/cpu.cfs_period_us": "100000\n",
                GROUP: "4:cpuset:/a\n",  # another controller
            },
            0,
        ),
        # Both versions mounted: the smaller.
        (
            {
                V1 + "cpu.cfs_quota_us": "300000\n",
                V1 + "cpu.cfs_period_us": "100000\n",
                V2 + "unified/cpu.max": "100000 50000\n",
                GROUP: "1:cpu:/\n0::/\n",
            },
            2,
        ),
    ],
)
def test_quota(tmp_path, files, cores):
    assert _core.cgroup_cores(tree(tmp_path, files)) == cores


def test_long_paths_are_no_danger(tmp_path):
    deep = "/" + "d" * 250
    files = {V2 + "cpu.max": "100000 100000\n", GROUP: f"0::{deep * 40}\n3:cpu:{deep * 15}\n"}
    assert _core.cgroup_cores(tree(tmp_path, files)) == 1
    assert _core.cgroup_cores("/" + "x" * 9000) == 0


def test_the_running_system_is_readable():
    assert _core.cgroup_cores() >= 0
    assert _core.cgroup_cores() == _core.cpu()["cgroup_cores"]
