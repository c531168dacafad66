#!/bin/sh
# Runs the modules' self tests in a real Slicer (5.10 or newer), offscreen where there is no display.
#   SLICER_EXECUTABLE=/opt/Slicer/Slicer Testing/run_in_slicer.sh
set -eu

if [ -z "${SLICER_EXECUTABLE:-}" ]; then
  echo "SLICER_EXECUTABLE is not set; no self test was run in Slicer." >&2
  exit 0
fi

root=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "${DISPLAY:-}" ] && command -v xvfb-run >/dev/null 2>&1; then
  launch="xvfb-run --auto-servernum"
else
  launch=""
fi

for module in KernelNormalization EmphysemaQuant; do
  code="import slicer.testing; slicer.testing.runUnitTest(['$root/KernelNormalization', '$root/EmphysemaQuant'], '$module')"
  $launch "$SLICER_EXECUTABLE" --no-splash --testing --disable-settings \
    --additional-module-paths "$root/KernelNormalization" "$root/EmphysemaQuant" \
    --python-code "$code"
  echo "$module: self tests passed in $SLICER_EXECUTABLE"
done
