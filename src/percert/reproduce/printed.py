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
#: LipSim, Table 3, the row of LipSim: natural, under linf-AutoAttack and linf-PGD, per cent.
LIPSIM_TABLE_3 = (
    85.09,
    {0.01: 54.06, 0.02: 20.78, 0.03: 7.07},
    {0.01: 83.83, 0.02: 79.22, 0.03: 75.27},
)

#: Human Imperceptible Attacks, Table 1: success in per cent, L1, L2, Linf.
HPOT_TABLE_1 = {
    "PerC_AL": (100.0, 633.116, 2.216, 0.085),
    "PGD (L2)": (100.0, 592.737, 1.561, 0.005),
    "NPTM (PPGD)": (95.75, 2544.206, 6.604, 0.115),
    "NPTM (LPA)": (99.78, 2157.771, 5.309, 0.049),
    "Human_Perc_OT (a = 0)": (100.0, 783.855, 1.905, 0.006),
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
