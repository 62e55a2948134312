//! What kind of thing a device is, by the vendor's category: for icons and filters. Pure.

/// The kinds and the vendor's categories that are one.
const KINDS: &[(&str, &[&str])] = &[
    (
        "light",
        &[
            "dj", "dd", "dc", "xdd", "fwd", "fsd", "gyd", "tyndj", "tgkg", "tgq", "sxd", "mbd",
        ],
    ),
    ("switch", &["kg", "tdq", "cjkg", "kqzg", "mk"]),
    ("socket", &["cz", "pc", "wkcz", "qccdz"]),
    ("cover", &["cl", "clkg", "ckmkzq", "cdchs"]),
    (
        "climate",
        &[
            "wk", "wkf", "kt", "ktkzq", "rs", "rqlj", "qn", "znrb", "ntq", "dr",
        ],
    ),
    (
        "sensor",
        &["wsdcg", "ldcg", "ywcgq", "zd", "ylcg", "zwjcy", "cgq"],
    ),
    (
        "air",
        &[
            "co2bj", "hjjcy", "pm2.5", "pm25", "voc", "jqbj", "cobj", "kj",
        ],
    ),
    ("door", &["mcs", "mc"]),
    ("motion", &["pir", "hps"]),
    ("leak", &["sj"]),
    ("smoke", &["ywbj"]),
    ("gas", &["rqbj", "jwbj"]),
    ("siren", &["sgbj", "bjq"]),
    ("fan", &["fs", "ks", "xfj"]),
    ("humidity", &["cs", "jsq"]),
    ("meter", &["zndb", "dlq", "zndlq", "slj"]),
    ("valve", &["sfkzq", "ggq", "xnyjcn"]),
    ("button", &["wxkg"]),
    (
        "remote",
        &["wnykq", "ykq", "qt", "hwktwkq", "ydkt", "wg2", "cwydj"],
    ),
    ("camera", &["sp"]),
    (
        "lock",
        &[
            "ms",
            "bxx",
            "jtmspro",
            "gyms",
            "hotelms",
            "ms_category",
            "videolock",
        ],
    ),
    (
        "appliance",
        &[
            "bh", "cwwsq", "cwysj", "cwtswsq", "sd", "xxj", "sfj", "szjqr", "kfj", "mzj", "bx",
            "xyj", "yyj",
        ],
    ),
];

/// Returns the kind of a category.
pub(crate) fn of(category: &str) -> &'static str {
    KINDS
        .iter()
        .find(|(_, categories)| categories.contains(&category))
        .map_or("other", |(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_category_has_one_kind() {
        assert_eq!(of("dj"), "light");
        assert_eq!(of("never heard of"), "other");
        let mut all: Vec<_> = KINDS.iter().flat_map(|(_, codes)| *codes).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "one stands with two kinds");
    }
}
