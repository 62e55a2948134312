//! What is written about a run: tables with medians, ratios and their spread, what the goal was and
//! whether it is reached; and on what it was measured.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use hearthgate_bench::figures::Spread;

use crate::{Outcome, mqtt};

/// One comparison.
pub(crate) struct Comparison {
    /// What was measured.
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    /// Everybody's figures, in the order of the rounds; the first is the gateway, the client or the hub.
    pub(crate) rows: Vec<(&'static str, Vec<f64>)>,
    /// What the first is measured by: the others' names, and the ratio to reach.
    pub(crate) goals: Vec<(&'static str, Goal)>,
}

/// What a ratio, ours by theirs, or a figure has to be.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn is_reached(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::AtMost(most) => write!(f, "at most {most}"),
        }
    }
}

impl Comparison {
    /// Writes it as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "### {}\n\n| | {} (median) | least to most |\n| --- | ---: | ---: |\n",
            self.title, self.unit
        );
        for (name, figures) in &self.rows {
            let spread = Spread::of(figures.clone());
            let _ = writeln!(
                text,
                "| {name} | {} | {} to {} |",
                shown(spread.median),
                shown(spread.min),
                shown(spread.max)
            );
        }
        let Some((name, ours)) = self.rows.first() else {
            return text;
        };
        text.push('\n');
        for (other, goal) in &self.goals {
            let (what, figure) = match self.rows.iter().find(|(name, _)| name == other) {
                Some((_, theirs)) => {
                    let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
                    (format!("{name} / {other}"), Spread::of(ratios.collect()))
                }
                None => (format!("{name}, {}", self.unit), Spread::of(ours.clone())),
            };
            let verdict = if goal.is_reached(figure.median) {
                "reached"
            } else {
                "**not reached**"
            };
            let _ = writeln!(
                text,
                "- {what}: **{}** ({} to {}); goal {goal}: {verdict}",
                shown(figure.median),
                shown(figure.min),
                shown(figure.max)
            );
        }
        text
    }
}

fn shown(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1000.0 => {
            let digits = format!("{figure:.0}");
            let mut grouped = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index).is_multiple_of(3) {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// Says on what it was measured.
pub(crate) fn machine(rivals: &Path) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model
        .unwrap_or(": unknown")
        .trim_start_matches(['\t', ' ', ':']);
    let aes = cpu
        .lines()
        .any(|line| line.starts_with("flags") && line.contains(" aes"));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = read("/proc/meminfo");
    let memory = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let memory: u64 = memory
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .and_then(|kilobytes| kilobytes.parse().ok())
        .unwrap_or(0);
    let kernel = read("/proc/sys/kernel/osrelease");
    let kernel = kernel
        .trim()
        .split('-')
        .next()
        .unwrap_or_default()
        .to_owned();
    let run = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.unwrap_or_else(|_| "not there".to_owned())
    };
    let rust = run("rustc", &["--version"]);
    let rust = rust.split(' ').nth(1).unwrap_or_default();
    let python = run(
        &rivals.join("python/bin/python").to_string_lossy(),
        &["--version"],
    );
    // As the rivals pin them.
    let ws = include_str!("../../rivals/node/package.json");
    let ws = ws
        .lines()
        .find_map(|line| line.trim().strip_prefix("\"ws\": \""));
    let ws = ws.unwrap_or_default().trim_end_matches([',', '"']);
    let websockets = include_str!("../../rivals/python/requirements.txt");
    let websockets = websockets
        .lines()
        .find_map(|line| line.strip_prefix("websockets=="));
    let hypervisor = if cpu.contains(" hypervisor") {
        ", a virtual machine"
    } else {
        ""
    };
    format!(
        "{cores} cores of {model}{hypervisor}, AES instructions: {}, {} GiB, Linux {kernel}. Rust {rust}, Mosquitto {}, \
         Node.js {} with ws {ws}, {python} with websockets {} on asyncio.",
        if aes { "yes" } else { "no" },
        memory / 1024 / 1024,
        mqtt::version(),
        run("node", &["--version"]).trim_start_matches('v'),
        websockets.unwrap_or_default().trim(),
    )
}

/// Writes the whole report.
pub(crate) fn write(path: &Path, sections: &[String]) -> Outcome<()> {
    let mut text = String::from(
        "# Benchmarks\n\nWritten by `make bench`; the figures are of one run on one machine. Absolute ones vary by a factor of two from\n\
         machine to machine, and on a virtual one from hour to hour: what counts are the ratios, each of figures that were\n\
         measured in turn within this run. A ratio is the median of the rounds' own ratios, with the least and the most in\n\
         brackets. A goal that is not reached says so.\n\n",
    );
    text.push_str(&sections.join("\n"));
    std::fs::write(path, text)?;
    Ok(())
}
