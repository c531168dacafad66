#!/bin/sh
# Runs the modules' self tests in a real Slicer (5.10 or newer), offscreen where there is no display. Every module runs, also after
# one has failed; the exit code is 0 only if all passed.
#   SLICER_EXECUTABLE=/opt/Slicer/Slicer Testing/run_in_slicer.sh
#   SCREENSHOTS=folder ...   also writes pictures of both modules as they look in that Slicer
set -u

if [ -z "${SLICER_EXECUTABLE:-}" ]; then
  echo "SLICER_EXECUTABLE is not set; no self test was run in Slicer." >&2
  exit 0
fi

root=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "${DISPLAY:-}" ] && command -v xvfb-run >/dev/null 2>&1; then
  launch="xvfb-run --auto-servernum --server-args=-screen\ 0\ 1366x768x24"
else
  launch=""
fi

slicer() {
  eval "$launch" '"$SLICER_EXECUTABLE"' --no-splash --testing --disable-settings \
    --additional-module-paths '"$root/KernelNormalization"' '"$root/EmphysemaQuant"' '"$@"'
}

failed=""
report=""
say() {
  report="$report
$1"
}

for module in KernelNormalization EmphysemaQuant; do
  code="import slicer.testing; slicer.testing.runUnitTest(['$root/KernelNormalization', '$root/EmphysemaQuant'], '$module')"
  slicer --python-code "$code"
  status=$?
  if [ "$status" -eq 0 ]; then
    say "$module: self tests passed"
  else
    failed="$failed $module"
    say "$module: self tests FAILED (exit code $status)"
  fi
done

if [ -n "${SCREENSHOTS:-}" ]; then
  mkdir -p "$SCREENSHOTS"
  slicer --python-script "$root/Testing/slicer_screenshots.py" "$SCREENSHOTS"
  status=$?
  if [ "$status" -eq 0 ]; then
    say "pictures: written to $SCREENSHOTS"
  else
    failed="$failed pictures"
    say "pictures: FAILED (exit code $status)"
  fi
fi

echo "In $SLICER_EXECUTABLE:$report"
[ -z "$failed" ]
