"""The papers' printed tables, as far as they are compared with."""

#: LipSim, Table 1: natural score and under l2-AutoAttack on the reference, per cent.
LIPSIM_TABLE_1 = {
    "CLIP": (93.91, {0.5: 29.93, 1.0: 8.44, 2.0: 1.20, 3.0: 0.27}),
    "OpenCLIP": (95.45, {0.5: 72.31, 1.0: 42.32, 2.0: 11.84, 3.0: 3.28}),
    "DINO": (94.52, {0.5: 81.91, 1.0: 59.04, 2.0: 19.29, 3.0: 6.35}),
    "DreamSim": (96.16, {0.5: 46.27, 1.0: 16.66, 2.0: 0.93, 3.0: 0.93}),
    "LipSim": (85.09, {0.5: 81.58, 1.0: 76.92, 2.0: 65.62, 3.0: 53.07}),
}
#: LipSim, Table 2, LipSim - DreamSim fine-tuned with margin 0.5: natural and certified, per cent.
LIPSIM_TABLE_2 = (85.09, {36: 67.32, 72: 43.26, 108: 19.02})
#: LipSim, Table 3: natural, under linf-AutoAttack and under linf-PGD, per cent.
LIPSIM_TABLE_3 = {
    "DINO": (94.52, {0.01: 14.91, 0.02: 1.42, 0.03: 0.21}, {0.01: 85.38, 0.02: 49.98, 0.03: 30.19}),
    "CLIP": (93.91, {0.01: 0.93, 0.02: 0.05, 0.03: 0.00}, {0.01: 72.88, 0.02: 37.86, 0.03: 21.04}),
    "OpenCLIP": (
        95.45,
        {0.01: 7.89, 0.02: 0.76, 0.03: 0.05},
        {0.01: 79.82, 0.02: 45.22, 0.03: 25.85},
    ),
    "DreamSim": (
        96.16,
        {0.01: 2.24, 0.02: 0.10, 0.03: 0.05},
        {0.01: 88.18, 0.02: 55.39, 0.03: 33.79},
    ),
    "LipSim": (
        85.09,
        {0.01: 54.06, 0.02: 20.78, 0.03: 7.07},
        {0.01: 83.83, 0.02: 79.22, 0.03: 75.27},
    ),
}
#: LipSim, Table 4: overall, ImageNet, other, per cent, by model and its type.
LIPSIM_TABLE_4 = {
    "PSNR": (57.1, 57.3, 57.0),
    "SSIM": (57.3, 58.5, 55.8),
    "LPIPS": (70.7, 69.3, 72.7),
    "DISTS": (86.0, 87.1, 84.5),
    "CLIP ViT-B/16": (82.2, 82.6, 81.7),
    "CLIP ViT-B/32": (83.1, 83.8, 82.1),
    "CLIP ViT-L/14": (81.8, 83.3, 79.8),
    "DINO ViT-S/8": (89.0, 89.7, 88.0),
    "DINO ViT-S/16": (89.6, 90.2, 88.8),
    "DINO ViT-B/8": (88.6, 88.6, 88.5),
    "DINO ViT-B/16": (90.1, 90.6, 89.5),
    "OpenCLIP ViT-B/16": (87.1, 87.8, 86.2),
    "OpenCLIP ViT-B/32": (87.6, 87.5, 87.6),
    "OpenCLIP ViT-L/14": (85.9, 86.7, 84.9),
    "DreamSim, pre-trained": (90.8, 91.6, 89.8),
    "LipSim of DINO, pre-trained": (86.90, 87.42, 86.21),
    "LipSim of OpenCLIP, pre-trained": (79.06, 80.88, 76.63),
    "LipSim of the ensemble, pre-trained": (86.62, 87.03, 86.08),
    "CLIP ViT-B/32, fine-tuned": (93.9, 94.0, 93.6),
    "DINO ViT-B/16, fine-tuned": (94.6, 94.6, 94.5),
    "MAE ViT-B/16, fine-tuned": (90.5, 90.6, 90.3),
    "OpenCLIP ViT-B/32, fine-tuned": (95.5, 96.5, 94.1),
    "DreamSim": (96.2, 96.6, 95.5),
    "LipSim of DINO": (88.87, 89.91, 87.48),
    "LipSim of OpenCLIP": (84.10, 85.69, 81.99),
    "LipSim": (88.60, 90.30, 86.33),
}

#: Human Imperceptible Attacks, Table 1: success in per cent, L1, L2, Linf.
HPOT_TABLE_1 = {
    "PerC_AL": (100.0, 633.116, 2.216, 0.085),
    "PGD (L2)": (100.0, 592.737, 1.561, 0.005),
    "NPTM (PPGD)": (95.75, 2544.206, 6.604, 0.115),
    "NPTM (LPA)": (99.78, 2157.771, 5.309, 0.049),
    "Human_Perc_OT (a = 0)": (100.0, 783.855, 1.905, 0.006),
}
#: Table 1, its last columns: LPIPS and DISTS, both times 1,000.
HPOT_TABLE_1_PERCEPTUAL = {
    "PerC_AL": (33.960, 33.819),
    "PGD (L2)": (7.823, 8.770),
    "NPTM (PPGD)": (81.569, 51.083),
    "NPTM (LPA)": (51.644, 35.920),
    "Human_Perc_OT (a = 0)": (7.303, 8.165),
}
#: Table 2: between saliency maps, L1, L2, Linf and the column SSIM, which grows with the change.
HPOT_TABLE_2 = {
    "PerC_AL": (1129.920, 10.803, 0.319, 0.093),
    "PGD (L2)": (385.700, 3.880, 0.132, 0.020),
    "NPTM (PPGD)": (946.390, 9.068, 0.276, 0.086),
    "NPTM (LPA)": (522.030, 5.337, 0.188, 0.036),
    "Human_Perc_OT (a = 0)": (325.729, 3.339, 0.118, 0.016),
}
#: Tables 3 and 4: by setting, success in per cent, seconds for 1,000 images, L1, L2, Linf.
HPOT_TABLE_3 = {
    0.5: (100.0, 2686.08, 706.974, 1.755, 0.006),
    1.0: (100.0, 2491.13, 783.855, 1.905, 0.006),
    2.0: (100.0, 2757.73, 919.670, 2.194, 0.006),
}
HPOT_TABLE_4 = {
    0.05: (100.0, 2755.56, 782.530, 1.902, 0.005),
    0.1: (100.0, 2491.13, 783.855, 1.905, 0.006),
    0.2: (100.0, 2444.25, 784.145, 1.906, 0.010),
}
#: Table 6: seconds for 1,000 images.
HPOT_TABLE_6 = {
    "PerC_AL": 2386.77,
    "PGD (L2)": 73.63,
    "NPTM (PPGD)": 281.86,
    "NPTM (LPA)": 551.87,
    "Human_Perc_OT (a = 0)": 2491.13,
}
