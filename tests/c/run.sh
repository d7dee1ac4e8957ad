#!/bin/sh
# Compile the C kernels and their driver with AddressSanitizer and UBSan, and run it.  CC chooses the compiler, SANITIZE=
# (empty) leaves the sanitizers out, RUN is what to run the program with (qemu-aarch64 -L /usr/aarch64-linux-gnu).
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
: "${CC:=cc}" "${RUN:=}"
sanitize=${SANITIZE--fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer}
flags="-std=gnu11 -O1 -g -fno-math-errno -fno-trapping-math -ffp-contract=fast -Wall -Wextra -Wno-unknown-pragmas -Wno-psabi"

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

compile() { # source, flags of its instruction set
    source=$1
    shift
    # shellcheck disable=SC2086
    $CC $flags $sanitize "$@" -I "$root/csrc" -c "$source" -o "$build/$(basename "$source" .c).o"
}

compile "$root/tests/c/kernels_test.c"
compile "$root/csrc/dispatch.c"
compile "$root/csrc/isa_baseline.c"
case $($CC -dumpmachine) in
x86_64*)
    compile "$root/csrc/isa_avx2.c" -mavx2 -mfma
    compile "$root/csrc/isa_avx512.c" -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma
    ;;
esac
# shellcheck disable=SC2086
$CC $sanitize "$build"/*.o -lm -o "$build/kernels_test"
$RUN "$build/kernels_test"
