"""Build of the extension modules; everything else stands in pyproject.toml.

The C kernels are compiled once per instruction set, each with its own flags, as static libraries that `_kernels` links.
FASTRNN_SANITIZE=1 builds them and the extension modules with AddressSanitizer and UBSan.
"""

import os
import platform
from pathlib import Path

import Cython
import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

HEADERS = [str(path) for path in sorted(Path("csrc").rglob("*.h"))]
SOURCES = [str(path) for path in sorted(Path("csrc").glob("*.c"))]
# No -ffast-math, no -march=native.  Without trapping math and errno the compiler may vectorise; fused multiply-add is
# used wherever the instruction set has it.
FLAGS = ["-std=gnu11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wall", "-Wextra"]
FLAGS += ["-Wno-unknown-pragmas", "-Wno-psabi", "-fvisibility=hidden"]
LINK = ["-pthread"]
if os.environ.get("FASTRNN_SANITIZE"):
    SANITIZE = [
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=undefined",
        "-fno-omit-frame-pointer",
        "-g",
        "-O1",
    ]
    FLAGS += SANITIZE
    LINK += SANITIZE[:1]
else:
    FLAGS += ["-g0"]

INSTRUCTION_SETS = {"baseline": []}
if platform.machine() in ("x86_64", "AMD64"):
    INSTRUCTION_SETS["avx2"] = ["-mavx2", "-mfma"]
    INSTRUCTION_SETS["avx512"] = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]


MODULES = [
    "_memory", "_kernels", "_schedule", "_cache", "_share", "_packing", "_step", "_weights", "_checkpoints",
    "_forward", "_backward", "_engine", "_convolution", "_normalization", "_changes", "_stage", "_recurrent_stage",
    "_layer_stages", "_attention_stage", "_choosing", "_session", "_writer", "_updates",
]  # fmt: skip


def library(name: str, source: str, flags: list[str]) -> tuple[str, dict]:
    """A static library of one C file."""
    return name, {
        "sources": [f"csrc/{source}"],
        "include_dirs": ["csrc"],
        "cflags": FLAGS + flags,
        "obj_deps": {"": HEADERS},
    }


def extension(name: str) -> Extension:
    """A Cython module of src/fastrnn."""
    return Extension(
        f"fastrnn.{name}",
        [f"src/fastrnn/{name}.pyx"],
        include_dirs=["csrc", numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
        extra_compile_args=["-O2", "-fvisibility=hidden", *FLAGS[FLAGS.index("-fvisibility=hidden") + 1 :]],
        extra_link_args=LINK,
        depends=HEADERS + SOURCES,
    )


setup(
    libraries=[
        library("fastrnn_dispatch", "dispatch.c", []),
        library("fastrnn_team", "team.c", ["-pthread"]),
        *(library(f"fastrnn_{name}", f"isa_{name}.c", flags) for name, flags in INSTRUCTION_SETS.items()),
    ],
    ext_modules=cythonize(
        [extension(name) for name in MODULES],
        include_path=["src"],
        build_dir=f"build/cython-{Cython.__version__}-numpy-{numpy.__version__}",  # C code fits only these
    ),
)
