"""Models elsewhere: `to_c` writes one as a C file that needs nothing but a compiler."""

from fastrnn.interop.c_export import CSizes, to_c

__all__ = ["CSizes", "to_c"]
