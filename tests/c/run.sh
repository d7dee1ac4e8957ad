#!/bin/sh
# Compile and run the C tests: the kernels and their activations under AddressSanitizer and UBSan, the team of threads
# under ThreadSanitizer.  CC chooses the compiler.  SANITIZE is what the kernels are compiled with; empty, it leaves all sanitizers out, and so
# does RUN, what to run the programs with (qemu-aarch64 -L /usr/aarch64-linux-gnu), unless SANITIZE asks for them.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
: "${CC:=cc}" "${RUN:=}"
if [ -z "$RUN" ]; then
    : "${SANITIZE=-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer}"
fi
sanitize=${SANITIZE-}
sanitize_threads=${sanitize:+-fsanitize=thread -fno-omit-frame-pointer}
flags="-std=gnu11 -O1 -g -fno-math-errno -fno-trapping-math -ffp-contract=fast -Wall -Wextra -Wno-unknown-pragmas -Wno-psabi"

build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

compile() { # program, source, flags of its own
    program=$1 source=$2
    shift 2
    mkdir -p "$build/$program.parts"
    # shellcheck disable=SC2086
    $CC $flags "$@" -I "$root/csrc" -c "$source" -o "$build/$program.parts/$(basename "$source" .c).o"
}

# shellcheck disable=SC2086
kernels() { compile kernels_test "$@" $sanitize; }

# shellcheck disable=SC2086
activations() { compile activations_test "$@" $sanitize; }

# shellcheck disable=SC2086
probe() { # instruction set, bytes of a vector, flags of its own
    name=$1 bytes=$2
    shift 2
    mkdir -p "$build/activations_test.parts"
    $CC $flags "$@" $sanitize -DNAME="$name" -DVECTOR_BYTES="$bytes" -I "$root/csrc" \
        -c "$root/tests/c/activations_probe.c" -o "$build/activations_test.parts/$name.o"
}

# shellcheck disable=SC2086
team() { compile team_test "$@" -pthread $sanitize_threads; }

kernels "$root/tests/c/kernels_test.c"
kernels "$root/csrc/dispatch.c"
kernels "$root/csrc/isa_baseline.c"
activations "$root/tests/c/activations_test.c"
activations "$root/csrc/dispatch.c"
probe baseline 16
case $($CC -dumpmachine) in
x86_64*)
    avx512="-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma"
    kernels "$root/csrc/isa_avx2.c" -mavx2 -mfma
    probe avx2 32 -mavx2 -mfma
    # shellcheck disable=SC2086
    kernels "$root/csrc/isa_avx512.c" $avx512
    # shellcheck disable=SC2086
    probe avx512 64 $avx512
    ;;
esac
# shellcheck disable=SC2086
compile narrow_test "$root/tests/c/narrow_test.c" $sanitize
team "$root/tests/c/team_test.c"
team "$root/csrc/team.c"
# shellcheck disable=SC2086
$CC $sanitize "$build/kernels_test.parts"/*.o -lm -o "$build/kernels_test"
# shellcheck disable=SC2086
$CC $sanitize "$build/activations_test.parts"/*.o -lm -o "$build/activations_test"
# shellcheck disable=SC2086
$CC $sanitize "$build/narrow_test.parts"/*.o "$build/kernels_test.parts"/dispatch.o "$build/kernels_test.parts"/isa_*.o \
    -lm -o "$build/narrow_test"
# shellcheck disable=SC2086
$CC -pthread $sanitize_threads "$build/team_test.parts"/*.o -o "$build/team_test"

case $RUN in
*qemu*) forks=0 ;; # a forked child cannot start threads there
*) forks=20 ;;
esac
$RUN "$build/kernels_test"
$RUN "$build/activations_test"
$RUN "$build/narrow_test"
TSAN_OPTIONS=die_after_fork=0 $RUN "$build/team_test" $forks
