# What this build and this machine are: algorithms, CPU, rates, threads. Included by _core.pyx.

def algorithms():
    """Names of the algorithms of this build, as `algorithm=` takes them."""
    return [fc_algorithm_name(index).decode() for index in range(fc_algorithm_count())]


def bounds():
    """{algorithm: (what bounds it, how much of that it reaches)}"""
    cdef const fc_algorithm *row
    found = {}
    for index in range(fc_algorithm_count()):
        row = fc_algorithm_at(index)
        found[row.name.decode()] = row.bound.decode(), row.reached.decode()
    return found


def kernels():
    """(name, whether this CPU and FASTCONV_ISA allow it) of every kernel of this build."""
    return [
        (fc_kernel_name(index).decode(), bool(fc_kernel_available(index)))
        for index in range(fc_kernel_count())
    ]


def cpu():
    """What the machine is, as a dict."""
    cdef fc_cpu_info info = fc_cpu_query()
    return {
        "isa": info.isa.decode(),
        "isa_found": info.isa_found.decode(),
        "brand": info.brand.decode("utf-8", "replace").strip(),
        "l1d_bytes": info.l1d_bytes,
        "l2_bytes": info.l2_bytes,
        "l3_bytes": info.l3_bytes,
        "logical_cores": info.logical_cores,
        "cgroup_cores": info.cgroup_cores,
        "openmp": bool(info.openmp),
        "amx_permitted": bool(info.amx_permitted),
    }


cdef dict rates_dict(const fc_rates *rates):
    """Those that are known."""
    named = {
        "fma_flops": rates.fma_flops,
        "tile_flops": rates.tile_flops,
        "l1_bytes": rates.l1_bytes,
        "l2_bytes": rates.l2_bytes,
        "l3_bytes": rates.l3_bytes,
        "memory_bytes": rates.memory_bytes,
        "fma_per_cycle": rates.fma_per_cycle,
    }
    return {name: rate for name, rate in named.items() if rate > 0}


def measure_rates(dtype):
    """What one core can do at most in this dtype, per second, as a dict."""
    cdef fc_rates rates
    cdef fc_dtype code = DTYPES[dtype]
    cdef fc_status status
    with nogil:
        status = fc_rates_measure(code, &rates)
    check(status)
    return rates_dict(&rates)


def calibrate_rates():
    """The rates plans are compared by, as measured in a few milliseconds; not used yet."""
    cdef fc_rates rates
    cdef fc_status status
    with nogil:
        status = fc_rates_calibrate(&rates)
    check(status)
    return rates_dict(&rates)


def rates_used():
    cdef fc_rates rates = fc_rates_used()
    return rates_dict(&rates)


def use_rates(dict named):
    """Compare plans by these from now on; what is not named stays."""
    cdef fc_rates rates
    rates.fma_flops = named.get("fma_flops", 0.0)
    rates.tile_flops = named.get("tile_flops", 0.0)
    rates.l1_bytes = named.get("l1_bytes", 0.0)
    rates.l2_bytes = named.get("l2_bytes", 0.0)
    rates.l3_bytes = named.get("l3_bytes", 0.0)
    rates.memory_bytes = named.get("memory_bytes", 0.0)
    rates.fma_per_cycle = named.get("fma_per_cycle", 0.0)
    fc_rates_use(&rates)


def cgroup_cores(root=""):
    """The CPU quota of this process's control groups in cores, 0.0 without one; below `root`."""
    path = root.encode()
    return fc_cgroup_cores(path)


def set_num_threads(int threads):
    fc_set_num_threads(threads)


def get_num_threads():
    return fc_get_num_threads()


def version():
    return fc_version().decode()


def compiler():
    """The compiler of this build and its version."""
    return FC_COMPILER.decode().strip()
