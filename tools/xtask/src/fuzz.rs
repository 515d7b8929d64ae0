//! Builds every fuzz target on the stable toolchain and runs each for some seconds: no nightly, no `cargo fuzz`.

use crate::process::{Failure, Printed, cargo, compiler, read, root, target_dir, tool, while_doing};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What `cargo fuzz build -s none` of version 0.13.2 passes: coverage feedback from the compiler, no sanitizer (it
/// would find little: the library forbids unsafe code), debug assertions and overflow checks on.
const RUSTFLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-sanitizer-coverage-stack-depth",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
    "--cfg",
    "fuzzing",
];

/// Builds all targets, and runs each for the seconds of the first argument.
pub fn smoke(arguments: &[String]) -> Result<(), Failure> {
    let seconds: u32 = match arguments.first() {
        Some(text) => text.parse().map_err(|_| format!("{text} is not a number of seconds"))?,
        None => 10,
    };
    let compilers = [std::env::var("CXX").unwrap_or_default(), "c++".into(), "g++".into(), "clang++".into()];
    if !compilers
        .iter()
        .any(|name| tool(name).arg("--version").capture().is_ok_and(|printed| printed.success))
    {
        return Err("libFuzzer needs a C++ compiler: install g++ or clang, or set CXX".into());
    }
    let (_, host) = compiler()?;
    // Where cargo fuzz builds as well.
    let build = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("fuzz/target"), |_| target_dir().join("fuzz"));
    cargo()
        .dir(&root().join("fuzz"))
        .args(["build", "--release", "--bins", "--target", &host])
        .env("CARGO_TARGET_DIR", &build)
        .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\u{1f}"))
        .run()?;

    let manifest = read("fuzz/Cargo.toml")?;
    let names: Vec<&str> = manifest
        .split("[[bin]]")
        .skip(1)
        .filter_map(|bin| bin.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')))
        .collect();
    let binaries = build.join(&host).join("release");
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(names.len());
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match run(name, &binaries, seconds) {
                        Ok(line) => println!("{line}"),
                        Err(failure) => {
                            eprintln!("{failure}");
                            failures.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(*name);
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    if failures.is_empty() {
        println!(
            "{} fuzz targets ran {seconds} s each: no crash, no input over 1 s, none over 512 MiB",
            names.len()
        );
        Ok(())
    } else {
        Err(format!("failed: {}", failures.join(", ")).into())
    }
}

/// How often a run is repeated that only a pause of the machine has ended.
const REPEATS: usize = 2;

/// Runs one target and tells how far it came.
fn run(name: &str, binaries: &Path, seconds: u32) -> Result<String, Failure> {
    // New finds go to a scratch folder; the seeds in the repository are only read.
    let scratch = target_dir().join("fuzz-corpus").join(name);
    let artifacts = root().join("fuzz/artifacts").join(name);
    for folder in [&scratch, &artifacts] {
        while_doing("create", folder, std::fs::create_dir_all(folder))?;
    }
    let binary = binaries.join(name);
    let mut printed = campaign(name, &binary, &scratch, &artifacts, seconds)?;
    for _ in 0..REPEATS {
        if printed.success || !was_paused(&printed, &binary)? {
            break;
        }
        println!("{name}: the machine paused for a second; once more");
        printed = campaign(name, &binary, &scratch, &artifacts, seconds)?;
    }
    if !printed.success {
        let tail: Vec<&str> = printed.text.lines().rev().take(40).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        return Err(
            format!("{}\n{name}: failed, its input is in {}", tail.join("\n"), artifacts.display()).into()
        );
    }
    let last = |word: &str| {
        let line = printed.text.lines().rev().find(|line| line.contains(word))?;
        line.split(word).nth(1)?.split_whitespace().next()
    };
    let runs = last("stat::number_of_executed_units:").unwrap_or("?");
    let coverage = last("cov: ").unwrap_or("?");
    let rss = last("stat::peak_rss_mb:").unwrap_or("?");
    Ok(format!("{name:<20} {runs:>10} runs, {coverage:>5} edges, {rss:>4} MiB"))
}

/// Fuzzes for some seconds.
fn campaign(
    name: &str,
    binary: &Path,
    scratch: &Path,
    artifacts: &Path,
    seconds: u32,
) -> Result<Printed, Failure> {
    tool(binary)
        .arg(scratch)
        .arg(root().join("corpus/fuzz").join(name))
        .arg(format!("-dict={}", root().join("fuzz/dict/memtopo.dict").display()))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        .args(LIMITS)
        .arg("-print_final_stats=1")
        .capture()
}

/// What an input may take: a second of the clock, and memory.
const LIMITS: [&str; 2] = ["-timeout=1", "-rss_limit_mb=512"];

/// Whether a run was ended by an input that took too long, and which alone, twice, does not: the clock also runs while a
/// shared machine does something else. The input is removed then.
fn was_paused(printed: &Printed, binary: &Path) -> Result<bool, Failure> {
    let unit =
        printed.text.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| path);
    let Some(unit) = unit.map(Path::new).filter(|path| path.to_string_lossy().contains("/timeout-")) else {
        return Ok(false);
    };
    for _ in 0..2 {
        if !tool(binary).args(LIMITS).arg(unit).capture()?.success {
            return Ok(false);
        }
    }
    while_doing("remove", unit, std::fs::remove_file(unit))?;
    Ok(true)
}
