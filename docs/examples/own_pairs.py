# %% [markdown]
# # Own pairs: find, calibrate, train, evaluate
#
# A scanner can reconstruct one acquisition with two kernels. Such pairs measure what happens between these kernels, train a
# network on it, and show how far each method gets. This page goes the whole way in seconds, on the two volumes that ship with
# the repository. Research use only, not for diagnosis.
#
# **What it does not show:** how good a network gets. It trains a tiny network for 30 steps on six slices of one patient and
# evaluates it on four other slices of the same patient. [Train your own](../../training/README.md) has the commands for real
# work, with whole patients left out.
#
# *Data: Li, P. et al. (2020), Lung-PET-CT-Dx, The Cancer Imaging Archive, doi 10.7937/TCIA.2020.NNC2-0461, CC BY 4.0; cropped.*
#
# ## Find
#
# In a DICOM archive, `python -m training.pairs ARCHIVE --out runs/own` finds every acquisition with several kernels. Each pair
# is checked: the same slices, no shift, the same anatomy. Here the check alone, on two files. (`training` is not installed by
# pip; run this from a clone, with `pip install -e ".[train]"`.)

# %%
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

sys.path.insert(0, "../..")

import ctkernel
from training.pairs import Pair, check_pair, to_patient
from training.simulate.store import write_patient

sample = Path("../../Resources/Sample")
sharp = ctkernel.read(sample / "chest-philips-L.nrrd")
smooth = ctkernel.read(sample / "chest-philips-B.nrrd")
pair = check_pair("sample L to B", sharp, smooth)
assert isinstance(pair, Pair), pair.reason
print(f"shift {pair.shift_pixels[0]:.2f} rows, {pair.shift_pixels[1]:.2f} columns; correlation {pair.correlation:.3f}")

# %% [markdown]
# The pair is stored with lung labels, as `training.pairs` does, in three blocks: two to train on, the uppermost to evaluate on.

# %%
runs = Path(tempfile.mkdtemp())
whole = to_patient(pair)
blocks = {
    "train/patients/pair0000": slice(0, 3),
    "train/patients/pair0001": slice(3, 6),
    "test/patients/pair0002": slice(6, 10),
}
for name, part in blocks.items():
    some = replace(whole, sharp=whole.sharp[part], smooth=whole.smooth[part], lung=whole.lung[part])
    write_patient(runs / f"{name}.npz", some)
    print(
        f"{name}: {len(some.sharp)} slices, {100 * (some.sharp[some.lung > 0] < -950).mean():.1f} % of lung below -950 HU in L"
    )

# %% [markdown]
# ## Calibrate
#
# The share of every spatial frequency that B keeps of L, measured on patches of tissue in which nothing was cut off at the HU
# floor. 200 patches are asked for; so few slices have less, so that this curve is noisier than one to work with.

# %%
from training.data.calibrate_transfer import measure_transfer

transfer = measure_transfer(sorted((runs / "train" / "patients").glob("*.npz")), needed=50)
frequency = np.arange(len(transfer.gains)) * transfer.step_lp_per_cm
nyquist = 10 / (2 * sharp.geometry.spacing[1])
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.plot(frequency[frequency <= nyquist], np.array(transfer.gains)[frequency <= nyquist])
axis.set(xlabel="spatial frequency, line pairs per cm", ylabel="gain, kernel L to B", ylim=(0, 1.2))
axis.grid(alpha=0.3)
plt.show()

# %% [markdown]
# ## Train a little
#
# The recipe of the shipped network, made small: it starts from the measured transfer and learns what the HU floor took.
# The command for real pairs is `python -m training.train --recipe ours --pairs runs/own --own-transfer --out runs/first`.

# %%
from lightning_fabric import Fabric

from training.data.sources import SourceConfig
from training.export import export
from training.running.config import RECIPES
from training.train import train

sources = SourceConfig((str(runs / "train"),), transfer=transfer)
config = replace(RECIPES["ours"], sources=sources, features=(4, 4, 8, 8), steps=30, batch=4, patch=64, average=0.9)
state = train(config, runs / "first", fabric=Fabric(accelerator="cpu", devices=1))
print(state.step, "steps")
described = {"training_data": "six slices of one Philips chest", "metrics": {}, "licence": "Apache-2.0"}
model = export(runs / "first", runs / "tiny-example", described)

# %% [markdown]
# ## Evaluate
#
# Every method on the slices left out. `python -m training.evaluate` does this for all pairs of a folder, with tables and
# figures.

# %%
from training.evaluate import evaluate_case
from training.evaluation.methods import MethodRunner, parse_method

methods = ("raw", "linear", "restored", f"tiny network=unet:{model}")
runners = [MethodRunner(parse_method(text), {}, "cpu") for text in methods]
scores, failures = evaluate_case(runs / "test" / "patients" / "pair0002.npz", runners, None)
assert not failures, failures
print(f"method         L1 in the lungs     EI   (kernel B: {scores[0].true_ei:.2f} %)")
for score in scores:
    print(f"{score.method:13s} {score.l1_lung:10.1f} HU   {score.ei:6.2f} %")

# %% [markdown]
# *linear* and *restored* read the transfer from the scan's noise; the network carries the measured one in its model folder. A
# model for your own scanner goes the same way: more pairs, more steps, whole patients left out, and `python -m training.checks`
# before it is used.
