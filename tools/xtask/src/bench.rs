//! Runs the benches and compares memtopo with the plain loop of the same run.

use crate::process::{Failure, cargo, target_dir, while_doing};
use std::collections::BTreeMap;
use std::path::Path;

/// The largest ratio of memtopo's time to that of the plain loop, by the start of the group's name.
const LIMITS: &[(&str, f64)] =
    &[("read-", 1.5), ("write-", 1.5), ("translate-", 2.0), ("plan-1024", 3.0), ("hotplug-growth", 2.0)];

/// The largest time of groups without a plain loop, in nanoseconds.
const CEILINGS: &[(&str, f64)] = &[("plan-small-1000", 1e9), ("hotplug-64-tib", 1e8)];

/// How often groups above their limit are measured again: on a machine with other work the first result may lie.
const RETRIES: usize = 2;

/// Time of each contender of each group, in nanoseconds.
type Times = BTreeMap<String, BTreeMap<String, f64>>;

/// Runs all benches, or those whose names contain the argument.
pub fn check(arguments: &[String]) -> Result<(), Failure> {
    let folder = target_dir().join("criterion");
    if folder.exists() {
        while_doing("empty", &folder, std::fs::remove_dir_all(&folder))?;
    }
    measure(arguments.first().map_or("", String::as_str))?;
    let mut times = read(&folder)?;
    for _ in 0..RETRIES {
        for name in above(&times) {
            println!("{name} is above its limit: once more");
            measure(&name)?;
        }
        times = read(&folder)?;
    }
    println!("\n{:<18} {:>12}  ratio to it", "group", "plain");
    for (name, group) in &times {
        let plain = group.get("plain").copied().unwrap_or(f64::NAN);
        let others: Vec<String> = group
            .iter()
            .filter(|(contender, _)| *contender != "plain")
            .map(|(contender, time)| format!("{contender} {:.2}", time / plain))
            .collect();
        if plain.is_nan() {
            let all: Vec<String> =
                group.iter().map(|(name, time)| format!("{name} {:.1} us", time / 1000.0)).collect();
            println!("{name:<18} {:>12}  {}", "none", all.join(", "));
            continue;
        }
        println!("{name:<18} {:>9.1} us  {}", plain / 1000.0, others.join(", "));
    }
    let above = above(&times);
    if above.is_empty() { Ok(()) } else { Err(format!("above the limit: {}", above.join(", ")).into()) }
}

fn measure(filter: &str) -> Result<(), Failure> {
    cargo()
        .args([
            "bench",
            "--package",
            "memtopo-benches",
            "--features",
            "measure",
            "--bench",
            "tables",
            "--bench",
            "translate",
            "--bench",
            "plan",
            "--",
            filter,
        ])
        .run()
}

/// The groups in which a contender of ours is above the limit, or has nothing to be compared with.
fn above(times: &Times) -> Vec<String> {
    let within = |name: &str, group: &BTreeMap<String, f64>| {
        let mut times = group.values();
        if let Some((_, ceiling)) = CEILINGS.iter().find(|(known, _)| *known == name) {
            return times.len() > 0 && times.all(|time| time <= ceiling);
        }
        let limit = LIMITS.iter().find(|(start, _)| name.starts_with(start)).map(|(_, limit)| *limit);
        let (Some(limit), Some(plain)) = (limit, group.get("plain")) else { return false };
        let mut ours = group.iter().filter(|(contender, _)| contender.starts_with("memtopo")).peekable();
        ours.peek().is_some() && ours.all(|(_, time)| time / plain <= limit)
    };
    times.iter().filter(|(name, group)| !within(name, group)).map(|(name, _)| name.clone()).collect()
}

/// Reads what criterion measured.
///
/// Of the samples the fastest counts: it is what the code can do, the others also show what else the machine did.
fn read(folder: &Path) -> Result<Times, Failure> {
    let mut times = Times::new();
    for group in names(folder)? {
        for contender in names(&folder.join(&group))? {
            let path = folder.join(&group).join(&contender).join("new/sample.json");
            if !path.exists() {
                continue;
            }
            let text = while_doing("read", &path, std::fs::read_to_string(&path))?;
            let fastest =
                fastest(&text).ok_or_else(|| format!("{}: not what criterion writes", path.display()))?;
            times.entry(group.clone()).or_default().insert(contender, fastest);
        }
    }
    if times.is_empty() { Err("no bench was run".into()) } else { Ok(times) }
}

fn names(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in while_doing("read", folder, std::fs::read_dir(folder))? {
        let entry = while_doing("read", folder, entry)?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The least time per iteration in a `sample.json`.
fn fastest(text: &str) -> Option<f64> {
    let list = |key: &str| -> Option<Vec<f64>> {
        let (_, rest) = text.split_once(&format!("\"{key}\":["))?;
        let (numbers, _) = rest.split_once(']')?;
        numbers.split(',').map(|number| number.trim().parse().ok()).collect()
    };
    let (iterations, times) = (list("iters")?, list("times")?);
    times.iter().zip(&iterations).map(|(time, iterations)| time / iterations).reduce(f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_sample_counts() {
        let text = r#"{"sampling_mode":"Linear","iters":[1.0,2.0,4.0],"times":[30.0,40.0,1000.0]}"#;
        assert_eq!(fastest(text), Some(20.0));
        assert_eq!(fastest("{}"), None);
    }

    #[test]
    fn a_group_without_its_plain_loop_is_not_within_limits() {
        let group =
            |times: &[(&str, f64)]| times.iter().map(|(name, time)| ((*name).to_owned(), *time)).collect();
        let times = Times::from([
            ("read-good".to_owned(), group(&[("memtopo", 15.0), ("plain", 10.0), ("other", 99.0)])),
            ("read-slow".to_owned(), group(&[("memtopo", 10.0), ("memtopo-vec", 16.0), ("plain", 10.0)])),
            ("read-alone".to_owned(), group(&[("memtopo", 10.0)])),
            ("read-missing".to_owned(), group(&[("plain", 10.0)])),
            ("unknown".to_owned(), group(&[("memtopo", 10.0), ("plain", 10.0)])),
            ("plan-small-1000".to_owned(), group(&[("memtopo", 9e8)])),
        ]);
        let late = Times::from([("plan-small-1000".to_owned(), group(&[("memtopo", 2e9)]))]);
        assert_eq!(above(&late), ["plan-small-1000"]);
        assert_eq!(above(&times), ["read-alone", "read-missing", "read-slow", "unknown"]);
    }
}
