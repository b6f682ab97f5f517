"""Gramine's enclave, as python/graminelibos/sgx_sign.py describes it, for the stand-ins."""

import struct

from sgx import PAGE, Measurement, load_segments

TLS = {
    "self": 0, "canary": 8, "enclave_size": 272, "tcs_offset": 280, "stack": 288, "sig_low": 304, "sig_high": 312,
    "ssa": 328, "gpr": 336, "manifest_size": 416, "heap_min": 424, "heap_max": 432,
}  # fmt: skip
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}
REG, TCS, R, W, X = 0x200, 0x100, 1, 2, 4


def size_of(text):
    return int(text[:-1]) * UNITS[text[-1]] if text[-1] in UNITS else int(text)


def measure(manifest_bytes, manifest, libpal):
    sgx = manifest["sgx"]
    size, threads = size_of(sgx["enclave_size"]), sgx["max_threads"]
    text = manifest_bytes + b"\0"
    segments, entry = load_segments(libpal)
    pal_size = max(-(-(vaddr + memsz) // PAGE) * PAGE for (_, vaddr, memsz, _) in segments)

    top = size
    areas = {}

    def put(name, length):
        nonlocal top
        top -= -(-length // PAGE) * PAGE
        areas[name] = top

    put("manifest", len(text))
    put("ssa", threads * 2 * 4 * PAGE)
    put("tcs", threads * PAGE)
    put("tls", threads * PAGE)
    for thread in range(threads):
        put(f"stack{thread}", 64 * PAGE)
    for thread in range(threads):
        put(f"sig{thread}", 16 * PAGE)
    put("pal", pal_size)
    heap_min = 0x10000
    if areas["pal"] < heap_min:
        raise ValueError("Enclave size is not large enough")

    measurement = Measurement(size, 4)
    measurement.pages(areas["manifest"], REG | R, text)
    measurement.pages(areas["ssa"], REG | R | W, bytes(threads * 8 * PAGE))
    for thread in range(threads):
        ssa = areas["ssa"] + thread * 8 * PAGE
        page = struct.pack(
            "<QQQIIQQQQII",
            *(0, 0, ssa, 0, 2, areas["pal"] + entry, 0, 0, areas["tls"] + thread * PAGE, 0xFFF, 0xFFF),
        )
        measurement.pages(areas["tcs"] + thread * PAGE, TCS, page)
    for thread in range(threads):
        ssa = areas["ssa"] + thread * 8 * PAGE
        values = {
            "self": areas["tls"] + thread * PAGE, "canary": 0xBADBADBADBAD, "enclave_size": size,
            "tcs_offset": areas["tcs"] + thread * PAGE, "stack": areas[f"stack{thread}"] + 64 * PAGE,
            "sig_low": areas[f"sig{thread}"], "sig_high": areas[f"sig{thread}"] + 16 * PAGE, "ssa": ssa,
            "gpr": ssa + 4 * PAGE - 184, "manifest_size": len(text), "heap_min": heap_min, "heap_max": areas["pal"],
        }  # fmt: skip
        page = bytearray(PAGE)
        for name, value in values.items():
            struct.pack_into("<Q", page, TLS[name], value)
        measurement.page(areas["tls"] + thread * PAGE, REG | R | W, bytes(page))
    for thread in range(threads):
        measurement.pages(areas[f"stack{thread}"], REG | R | W, bytes(64 * PAGE))
    for thread in range(threads):
        measurement.pages(areas[f"sig{thread}"], REG | R | W, bytes(16 * PAGE))
    for flags, vaddr, memsz, content in segments:
        secinfo = REG | (R if flags & 4 else 0) | (W if flags & 2 else 0) | (X if flags & 1 else 0)
        lead = vaddr % PAGE
        length = -(-(lead + memsz) // PAGE) * PAGE
        measurement.pages(areas["pal"] + vaddr - lead, secinfo, (bytes(lead) + content).ljust(length, b"\0"))
    if not sgx["edmm_enable"]:
        for offset in range(heap_min, areas["pal"], PAGE):
            measurement.page(offset, REG | R | W | X)
    return measurement.digest()
