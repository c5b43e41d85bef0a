"""Units of UCUM: whether a code is one, by UCUM's grammar and its list of units and prefixes.

https://ucum.org/ucum
"""

from __future__ import annotations

import re
from functools import lru_cache

SYSTEM = "http://unitsofmeasure.org"
LONGEST = 200
PREFIXES = ("da", "Ki", "Mi", "Gi", "Ti", *"YZEPTGMkhdcmunpfazy")
METRIC = frozenset(
    "m s g rad K C cd mol sr Hz N Pa J W A V F Ohm S Wb Cel T H lm lx Bq Gy Sv l L ar t bar u eV pc [c] [h] [k] [eps_0] [mu_0]"
    " [e] [m_e] [m_p] [G] [g] [ly] gf Ky Gal dyn erg P Bi St Mx G Oe Gb sb Lmb ph Ci R RAD REM cal_[15] cal_[20] cal_m cal_IT"
    " cal_th cal tex m[H2O] m[Hg] eq osm g% kat U [iU] [IU] Np B B[SPL] B[V] B[mV] B[uV] B[10.nV] B[W] B[kW] st mho bit By Bd".split()
)
"""Units that take a prefix."""
PLAIN = frozenset(
    "10* 10^ [pi] % [ppth] [ppm] [ppb] [pptr] gon deg ' '' min h d a_t a_j a_g a wk mo_s mo_j mo_g mo AU atm [lbf_av] [in_i] [ft_i]"
    " [yd_i] [mi_i] [fth_i] [nmi_i] [kn_i] [sin_i] [sft_i] [syd_i] [cin_i] [cft_i] [cyd_i] [bf_i] [cr_i] [mil_i] [cml_i] [hd_i]"
    " [ft_us] [yd_us] [in_us] [rd_us] [ch_us] [lk_us] [rch_us] [rlk_us] [fth_us] [fur_us] [mi_us] [acr_us] [srd_us] [smi_us] [sct]"
    " [twp] [mil_us] [in_br] [ft_br] [rd_br] [ch_br] [lk_br] [fth_br] [pc_br] [yd_br] [mi_br] [nmi_br] [kn_br] [acr_br] [gal_us]"
    " [bbl_us] [qt_us] [pt_us] [gil_us] [foz_us] [fdr_us] [min_us] [crd_us] [bu_us] [gal_wi] [pk_us] [dqt_us] [dpt_us] [tbs_us]"
    " [tsp_us] [cup_us] [foz_m] [cup_m] [tsp_m] [tbs_m] [gal_br] [pk_br] [bu_br] [qt_br] [pt_br] [gil_br] [foz_br] [fdr_br] [min_br]"
    " [gr] [lb_av] [oz_av] [dr_av] [scwt_av] [lcwt_av] [ston_av] [lton_av] [stone_av] [pwt_tr] [oz_tr] [lb_tr] [sc_ap] [dr_ap]"
    " [oz_ap] [lb_ap] [oz_m] [lne] [pnt] [pca] [pnt_pr] [pca_pr] [pied] [pouce] [ligne] [didot] [cicero] [degF] [degR] [Cal] [Btu_39]"
    " [Btu_59] [Btu_60] [Btu_m] [Btu_IT] [Btu_th] [Btu] [HP] [den] [in_i'H2O] [in_i'Hg] [PRU] [wood'U] [diop] [p'diop] %[slope]"
    " [mesh_i] [Ch] [drp] [hnsf'U] [MET] [hp'_X] [hp'_C] [hp'_M] [hp'_Q] [hp_X] [hp_C] [hp_M] [hp_Q] [kp_X] [kp_C] [kp_M] [kp_Q] [pH]"
    " [S] [HPF] [LPF] [arb'U] [USP'U] [GPL'U] [MPL'U] [APL'U] [beth'U] [anti'Xa'U] [todd'U] [dye'U] [smgy'U] [bdsk'U] [ka'U] [knk'U]"
    " [mclg'U] [tb'U] [CCID_50] [TCID_50] [EID_50] [PFU] [FFU] [CFU] [BAU] [AU] [Amb'a'1'U] [PNU] [Lf] [D'ag'U] [FEU] [ELU] [EU] Ao b"
    " att [psi] circ sph [car_m] [car_Au] [smoot] bit_s".split()
)
"""Units that take none."""
_COMPONENT = re.compile(
    r"(?:(?P<unit>10[*^]|(?:[A-Za-z%'_]|\[[^\[\]\s]*\])+)(?:[+-]?[0-9]+)?|[0-9]+)?(?:\{[ -z|~]*\})?"
)
_GROUP = re.compile(r"(?<![^./(])\((?P<inner>[^()]*)\)(?![^./)])")
"""A group stands by itself: beside an operator, another parenthesis or an end."""


def is_unit(code: str) -> bool:
    """Whether `code` is a unit of UCUM, case-sensitive, such as mg/dL or mm[Hg]."""
    return len(code) <= LONGEST and _is_unit(code)


@lru_cache(maxsize=4096)
def _is_unit(code: str) -> bool:
    """Each group in parentheses, innermost first, is a term; then it stands for the unit 1."""
    while "(" in code:
        match = _GROUP.search(code)
        if match is None or not _is_term(match["inner"]):
            return False
        code = f"{code[: match.start()]}1{code[match.end() :]}"
    return _is_term(code)


def _is_term(text: str) -> bool:
    """Components with . or / between them; a / may stand before the first."""
    position = int(text.startswith("/"))
    while True:
        match = _COMPONENT.match(text, position)
        if match is None or not match.group() or not _is_known(match["unit"]):
            return False
        if match.end() == len(text):
            return True
        if text[match.end()] not in "./":
            return False
        position = match.end() + 1


def _is_known(unit: str | None) -> bool:
    if unit is None or unit in METRIC or unit in PLAIN:
        return True
    return any(unit.startswith(prefix) and unit[len(prefix) :] in METRIC for prefix in PREFIXES)
