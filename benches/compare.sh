#!/usr/bin/env bash
# Compares counts of instructions with the baseline: the gate of benches/run.sh.
#
#   benches/compare.sh BASELINE COUNTS
#
# Both files have lines "STEP COUNT"; '#' begins a remark. The remark "# rustc …" names the compiler of the counts,
# "# machine: …" what else they depend on.
# Exit 0: every step is within 1 % of its baseline. Exit 1: a step costs more or less, is new, or is gone. Fewer
# instructions have to move the baseline too, or a later change could give them back unseen. Exit 3: another compiler
# made the counts, so nothing is compared; the change of the toolchain has to move the baseline. Exit 4: the counts are
# of another kind of machine, so nothing is compared.
set -euo pipefail
[ $# = 2 ] || { echo "usage: benches/compare.sh BASELINE COUNTS" >&2; exit 64; }
compiler() { sed -n 's/^# \(rustc .*\)/\1/p' "$1"; }
machine() { sed -n 's/^# machine: //p' "$1"; }
advice='If the change is meant: benches/run.sh move, and commit benches/baseline.txt with the reason in the message.'
if [ "$(compiler "$1")" != "$(compiler "$2")" ]; then
    echo "the baseline was counted with \"$(compiler "$1")\", these counts with \"$(compiler "$2")\": no figure can be compared." >&2
    echo "After a change of the toolchain, count the commit before it with both: benches/run.sh move, and commit the file alone." >&2
    exit 3
fi
if [ "$(machine "$1")" != "$(machine "$2")" ]; then
    echo "NOT COMPARED: the baseline was counted on \"$(machine "$1")\", these counts on \"$(machine "$2")\"." >&2
    exit 4
fi
awk -v advice="$advice" '
    /^#/ || NF == 0 { next }
    FNR == NR { baseline[$1] = $2; order[++steps] = $1; next }
    { counted[$1] = $2; if (!($1 in baseline)) { printf "%s: %d instructions, not in the baseline\n", $1, $2; wrong++ } }
    END {
        for (at = 1; at <= steps; at++) {
            step = order[at]
            if (!(step in counted)) { printf "%s: in the baseline, and not counted\n", step; wrong++; continue }
            change = (counted[step] - baseline[step]) / baseline[step] * 100
            if (change > 1 || change < -1) {
                printf "%s: %d instructions, %+.1f %% of the baseline, %d\n", step, counted[step], change, baseline[step]
                wrong++
            }
        }
        if (wrong) { print advice; exit 1 }
        printf "%d steps, each within 1 %% of its baseline\n", steps
    }' "$1" "$2"
