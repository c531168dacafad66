# %% [markdown]
# # One scan: read, normalize, measure, plot
#
# A real chest, ten slices of it, that ships with the repository: Philips Brilliance 16, 5 mm slices, reconstructed twice from
# one acquisition, with the sharp kernel L and with the smooth kernel B. Research use only, not for diagnosis.
#
# *Data: Li, P. et al. (2020), Lung-PET-CT-Dx, The Cancer Imaging Archive, doi 10.7937/TCIA.2020.NNC2-0461, CC BY 4.0; cropped.*
#
# ## Read
#
# `ctkernel.read` takes a DICOM folder as well. Before any work, the gate says whether this is a scan that the method knows.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import ctkernel
from EmphysemaQuantLib.core.indices.agreement import compare_volumes
from KernelNormalizationLib.core.suitability import assess

sample = Path("../../Resources/Sample")
sharp = ctkernel.read(sample / "chest-philips-L.nrrd")
print(sharp)
verdict = assess(sharp)
print("Verdict:", verdict.verdict)
for reason in verdict.reasons:
    print("-", reason)

# %% [markdown]
# *Untested* means: the scan is a chest and is normalized, but its kind was not part of the validation, so the interval of the
# result may be too narrow.
#
# ## Normalize
#
# The default method restores what the scanner cut off at the HU floor and filters to the kernel B20f, without a network.

# %%
result = ctkernel.normalize(sharp)
print(result.volume)
print(result.record["truncation_in_words"])

# %% [markdown]
# ## Measure
#
# Lungs are segmented once, so that both volumes are measured in the same voxels. The mask tells what is wrong with it: here the
# lungs are cut off above and below, because the sample is a part of the chest.

# %%
mask = ctkernel.segment_lungs(sharp, result)
for reason in mask.quality.reasons:
    print("-", reason)
found = ctkernel.measure([sharp, result], mask)
print("                    EI   Perc15  mean density       lung")
for name, volume in zip(("sharp kernel L", "normalized"), found.volumes, strict=True):
    whole = volume.whole
    print(f"{name:14s} {whole.ei_percent:5.2f} %  {whole.perc15_hu:4.0f} HU  {whole.mld_hu:9.0f} HU  {whole.tlv_ml:6.0f} mL")
interval = found.volumes[1].interval
print(f"95 % interval of the normalized EI: {interval.low:.2f} to {interval.high:.2f} %")

# %% [markdown]
# ## Is that right?
#
# Seldom can one know. Here the scanner made the smooth volume too, so it can be compared in every voxel of the lungs.

# %%
smooth = ctkernel.read(sample / "chest-philips-B.nrrd")
print("                     EI  mean difference to kernel B in the lungs (L1)")
for name, volume in (("sharp kernel L", sharp), ("normalized", result.volume)):
    agreement = compare_volumes(smooth, volume, mask)
    print(f"{name:15s} {agreement.other_ei_percent:5.2f} %  {agreement.l1_lung_hu:.1f} HU")
print(f"smooth kernel B {agreement.reference_ei_percent:5.2f} %")

# %% [markdown]
# One patient of another maker is no validation; [what was measured](../validation.md) has the rest.
#
# ## Plot
#
# Lung window (-1350 to 150 HU); red is lung below -950 HU.

# %%
k = 4
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
titles = ("sharp kernel L", "normalized (synthetic)", "smooth kernel B")
for axis, title, volume in zip(axes, titles, (sharp, result.volume, smooth), strict=True):
    axis.imshow(volume.hu[k], cmap="gray", vmin=-1350, vmax=150)
    emphysema = (volume.hu[k] < -950) & mask.mask[k]
    axis.imshow(np.ma.masked_equal(emphysema, 0), cmap="autumn", interpolation="nearest")
    share = 100 * emphysema.sum() / mask.mask[k].sum()
    axis.set_title(f"{title}\n{share:.1f} % of this slice's lung", fontsize=10)
    axis.axis("off")
figure.supxlabel("Research use only. Not for diagnosis.", fontsize=8)
plt.show()
