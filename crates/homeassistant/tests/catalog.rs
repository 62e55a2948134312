//! The files of the catalog: all of them are read, and every category is there that Home Assistant's
//! integration has entries for.

use hearthgate_homeassistant::Catalog;

/// The categories of Home Assistant's integration, 2025.4 to 2026.11.
const CATEGORIES: &[&str] = &[
    "aqcz", "bh", "bzyd", "cjkg", "ckmkzq", "cl", "clkg", "cn", "co2bj", "cobj", "cs", "cwjwq",
    "cwwsq", "cwysj", "cz", "dbl", "dc", "dd", "dghsxj", "dgnbj", "dj", "dlq", "dr", "dsd", "fs",
    "fsd", "fskg", "fwd", "ggq", "gyd", "hcdd", "hjjcy", "hps", "hwsb", "hxd", "jdcljqr", "jqbj",
    "jsq", "jwbj", "kfj", "kg", "kj", "ks", "kt", "ldcg", "mal", "mbd", "mc", "mcs", "mjj", "mk",
    "msp", "mzj", "pc", "pir", "pm2.5", "qccdz", "qjdcz", "qn", "qxj", "rqbj", "rs", "sd", "sfkzq",
    "sgbj", "sj", "sjz", "sos", "sp", "swtz", "sz", "szjcy", "szjqr", "tdq", "tgkg", "tgq", "tyd",
    "tyndj", "voc", "wg2", "wk", "wkcz", "wkf", "wnykq", "wsdcg", "wxkg", "xdd", "xnyjcn", "xxj",
    "ykq", "ylcg", "ywbj", "ywcgq", "zd", "zndb", "znjdq", "znjxs", "znnbq", "znrb", "zwjcy",
];

#[test]
fn every_file_is_read_and_checked() {
    if let Err(error) = Catalog::parse(Catalog::files()) {
        panic!("crates/homeassistant/catalog/{error}");
    }
}

#[test]
fn every_category_of_the_integration_is_there() {
    let catalog = Catalog::builtin();
    for category in CATEGORIES {
        let known = catalog.categories().find(|(code, _)| code == category);
        let (_, name) = known.unwrap_or_else(|| panic!("no file for the category {category}"));
        assert!(!name.is_empty(), "{category} has no name");
    }
}

#[test]
fn a_fault_names_file_and_line() {
    let head = "category = \"qq\"\nname = \"Thing\"\n";
    for (entity, line, said) in [
        ("[[entity]]\nplatform = \"lamp\"\ncode = \"a\"\n", 4, "lamp"),
        (
            "[[entity]]\nplatform = \"switch\"\ncoed = \"a\"\n",
            5,
            "coed",
        ),
        ("[[entity]]\nplatform = \"switch\"\n", 3, "code"),
        (
            "[[entity]]\nplatform = \"sensor\"\ncode = \"a\"\ndevice_class = \"warmth\"\n",
            3,
            "warmth",
        ),
        (
            "[[entity]]\nplatform = \"sensor\"\ncode = \"a\"\ndevice_class = \"energy\"\nstate_class = \"measurement\"\n",
            3,
            "state_class",
        ),
        (
            "[[entity]]\nplatform = \"sensor\"\ncode = \"a\"\ndevice_class = \"power\"\nunit = \"V\"\n",
            3,
            "unit",
        ),
        (
            "[[entity]]\nplatform = \"sensor\"\ncode = \"a\"\ncategory = \"config\"\n",
            3,
            "category",
        ),
        (
            "[[entity]]\nplatform = \"light\"\ncode = \"a\"\nroles.brigthness = [\"b\"]\n",
            3,
            "brigthness",
        ),
        (
            "[[entity]]\nplatform = \"switch\"\ncode = \"a\"\n\n[[entity]]\nplatform = \"switch\"\ncode = \"a\"\n",
            7,
            "earlier",
        ),
    ] {
        let text = format!("{head}{entity}");
        let error = Catalog::parse(&[("qq.toml", &text)]).unwrap_err();
        assert_eq!(
            (error.file.as_str(), error.line),
            ("qq.toml", line),
            "{text}{error}"
        );
        assert!(error.problem.contains(said), "{text}{error}");
    }
    let error = Catalog::parse(&[("other.toml", head)]).unwrap_err();
    assert!(error.to_string().starts_with("other.toml:1:"), "{error}");
}
