"""Countries: codes of two and three letters, names, and the country of a place on the map."""

import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from percert.extras import install_extra

#: ISO 3166-1: two letters and three of every country, and Kosovo's XK and XKX, which GeoNames and
#: the World Bank use though ISO does not.
_CODES = """
ADAND AEARE AFAFG AGATG AIAIA ALALB AMARM AOAGO AQATA ARARG ASASM ATAUT AUAUS AWABW AXALA AZAZE
BABIH BBBRB BDBGD BEBEL BFBFA BGBGR BHBHR BIBDI BJBEN BLBLM BMBMU BNBRN BOBOL BQBES BRBRA BSBHS
BTBTN BVBVT BWBWA BYBLR BZBLZ CACAN CCCCK CDCOD CFCAF CGCOG CHCHE CICIV CKCOK CLCHL CMCMR CNCHN
COCOL CRCRI CUCUB CVCPV CWCUW CXCXR CYCYP CZCZE DEDEU DJDJI DKDNK DMDMA DODOM DZDZA ECECU EEEST
EGEGY EHESH ERERI ESESP ETETH FIFIN FJFJI FKFLK FMFSM FOFRO FRFRA GAGAB GBGBR GDGRD GEGEO GFGUF
GGGGY GHGHA GIGIB GLGRL GMGMB GNGIN GPGLP GQGNQ GRGRC GSSGS GTGTM GUGUM GWGNB GYGUY HKHKG HMHMD
HNHND HRHRV HTHTI HUHUN IDIDN IEIRL ILISR IMIMN ININD IOIOT IQIRQ IRIRN ISISL ITITA JEJEY JMJAM
JOJOR JPJPN KEKEN KGKGZ KHKHM KIKIR KMCOM KNKNA KPPRK KRKOR KWKWT KYCYM KZKAZ LALAO LBLBN LCLCA
LILIE LKLKA LRLBR LSLSO LTLTU LULUX LVLVA LYLBY MAMAR MCMCO MDMDA MEMNE MFMAF MGMDG MHMHL MKMKD
MLMLI MMMMR MNMNG MOMAC MPMNP MQMTQ MRMRT MSMSR MTMLT MUMUS MVMDV MWMWI MXMEX MYMYS MZMOZ NANAM
NCNCL NENER NFNFK NGNGA NINIC NLNLD NONOR NPNPL NRNRU NUNIU NZNZL OMOMN PAPAN PEPER PFPYF PGPNG
PHPHL PKPAK PLPOL PMSPM PNPCN PRPRI PSPSE PTPRT PWPLW PYPRY QAQAT REREU ROROU RSSRB RURUS RWRWA
SASAU SBSLB SCSYC SDSDN SESWE SGSGP SHSHN SISVN SJSJM SKSVK SLSLE SMSMR SNSEN SOSOM SRSUR SSSSD
STSTP SVSLV SXSXM SYSYR SZSWZ TCTCA TDTCD TFATF TGTGO THTHA TJTJK TKTKL TLTLS TMTKM TNTUN TOTON
TRTUR TTTTO TVTUV TWTWN TZTZA UAUKR UGUGA UMUMI USUSA UYURY UZUZB VAVAT VCVCT VEVEN VGVGB VIVIR
VNVNM VUVUT WFWLF WSWSM YEYEM YTMYT ZAZAF ZMZMB ZWZWE XKXKX
"""
ALPHA3 = {pair[:2]: pair[2:] for pair in _CODES.split()}

#: What countries are called beside the names in the World Bank's files.
_ALIASES = {
    "bolivia": "BOL",
    "brunei": "BRN",
    "burma": "MMR",
    "cape verde": "CPV",
    "congo brazzaville": "COG",
    "congo kinshasa": "COD",
    "czech republic": "CZE",
    "democratic republic of the congo": "COD",
    "east timor": "TLS",
    "egypt": "EGY",
    "gambia": "GMB",
    "great britain": "GBR",
    "hong kong": "HKG",
    "iran": "IRN",
    "ivory coast": "CIV",
    "kyrgyzstan": "KGZ",
    "laos": "LAO",
    "macao": "MAC",
    "macau": "MAC",
    "macedonia": "MKD",
    "micronesia": "FSM",
    "moldova": "MDA",
    "north korea": "PRK",
    "palestine": "PSE",
    "republic of the congo": "COG",
    "russia": "RUS",
    "slovakia": "SVK",
    "somalia": "SOM",
    "south korea": "KOR",
    "swaziland": "SWZ",
    "syria": "SYR",
    "taiwan": "TWN",
    "tanzania": "TZA",
    "the bahamas": "BHS",
    "the netherlands": "NLD",
    "turkey": "TUR",
    "uk": "GBR",
    "usa": "USA",
    "venezuela": "VEN",
    "vietnam": "VNM",
    "yemen": "YEM",
}

#: The radius of the Earth in km.
_EARTH = 6371.0


def country_code(text: str, names: Mapping[str, str] | None = None) -> str | None:
    """The three letters of a country given by code or name; ``None`` where it is none known.

    ``names`` maps further names, such as those of a World Bank file, to codes.

    >>> [country_code(text) for text in ("de", "NAM", "Ivory Coast", "Atlantis")]
    ['DEU', 'NAM', 'CIV', None]
    >>> country_code("Côte d'Ivoire", {"Cote d'Ivoire": "CIV"})
    'CIV'
    """
    code = text.strip().upper()
    if code in ALPHA3:
        return ALPHA3[code]
    if code in ALPHA3.values():
        return code
    known = _ALIASES | {_folded(name): three for name, three in (names or {}).items()}
    return known.get(_folded(text))


def _folded(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name.casefold())
    kept = "".join(c if c.isalnum() else " " for c in letters if not unicodedata.combining(c))
    return " ".join(kept.split())


def countries_of(
    latitudes: Sequence[float], longitudes: Sequence[float], farthest: float = 300.0
) -> list[str | None]:
    """The country of each place in degrees, as three letters, without asking anybody.

    It is the country of the nearest town in GeoNames' list of those with 1,000 people or more, as
    ``reverse_geocode`` carries it: near a border that can be the neighbour's. ``None`` beyond
    ``farthest`` km from any town, as in mid-ocean. Raises ``ValueError`` for a place that is not on
    the map.

    >>> countries_of([52.52, 0.0], [13.40, 0.0])  # Berlin, and the Gulf of Guinea
    ['DEU', None]
    """
    try:
        import reverse_geocode  # type: ignore[import-untyped]  # it ships no types
    except ImportError:
        raise ValueError(f"countries need reverse-geocode: {install_extra('geo')}") from None
    places = np.stack([np.asarray(latitudes, float), np.asarray(longitudes, float)], axis=-1)
    if not len(places):
        return []
    # The negation also catches NaN.
    off = ~((np.abs(places[:, 0]) <= 90) & (np.abs(places[:, 1]) <= 180))
    if off.any():
        raise ValueError(f"place: expected degrees, found {places[off][0].tolist()}")
    best = np.full(len(places), np.inf)
    codes: list[str | None] = [None] * len(places)
    # The list is searched as on a flat map: across the date line only by going round.
    for turn in (0.0, -360.0, 360.0):
        rows = np.flatnonzero(np.abs(places[:, 1] + turn) <= 190)
        if not len(rows):
            continue
        found = reverse_geocode.search((places[rows] + [0.0, turn]).tolist())
        towns = np.array([[entry["latitude"], entry["longitude"]] for entry in found])
        distance = _kilometres(places[rows], towns)
        for row, entry, away in zip(rows, found, distance, strict=True):
            if away < best[row]:
                best[row] = away
                codes[row] = ALPHA3.get(entry["country_code"]) if away <= farthest else None
    return codes


def _kilometres(
    places: npt.NDArray[np.float64], towns: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    (lat, lon), (lat2, lon2) = np.radians(places).T, np.radians(towns).T
    half = np.sin((lat2 - lat) / 2) ** 2
    half = half + np.cos(lat) * np.cos(lat2) * np.sin((lon2 - lon) / 2) ** 2
    distance: npt.NDArray[np.float64] = 2 * _EARTH * np.arcsin(np.sqrt(np.minimum(half, 1)))
    return distance
