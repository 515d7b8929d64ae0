//! The one place for repository tasks: `cargo xtask TASK`. What CI runs, a person can run.

mod bench;
mod fuzz;
mod layers;
mod no_std;
mod process;

use process::{Failure, cargo, rustup_toolchain, section, target_dir};
use std::process::ExitCode;

/// One task.
struct Task {
    name: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Result<(), Failure>,
}

const TASKS: &[Task] = &[
    Task { name: "ci", help: "everything below that needs only the toolchain (and g++ to fuzz)", run: ci },
    Task { name: "fmt", help: "check the formatting of every workspace; --fix to apply it", run: fmt },
    Task { name: "clippy", help: "lint with default, no and all features; warnings are errors", run: clippy },
    Task {
        name: "layers",
        help: "check who uses whom inside src/ against the table of layers",
        run: layers::run,
    },
    Task {
        name: "features",
        help: "check the library with each combination of features; test it without any",
        run: features,
    },
    Task { name: "test", help: "run all tests; further arguments go to cargo test", run: test },
    Task { name: "doc", help: "build the documentation; warnings are errors", run: doc },
    Task {
        name: "no-std",
        help: "prove: no std, no alloc, no panic; with negative controls",
        run: no_std::run,
    },
    Task {
        name: "fuzz-smoke",
        help: "build every fuzz target and run each [SECONDS] (10)",
        run: fuzz::smoke,
    },
    Task { name: "corpus", help: "write the fuzzing seeds that the builders make", run: corpus },
    Task {
        name: "bench-check",
        help: "run the benches, print the ratios, fail above the limits",
        run: bench::check,
    },
    Task { name: "msrv", help: "check with the oldest supported toolchain, if rustup has it", run: msrv },
];

/// What `ci` runs, in order.
const CI: &[&str] = &["fmt", "clippy", "layers", "features", "doc", "no-std", "fuzz-smoke", "test"];

/// Every combination of features that is not the same as another one.
const FEATURES: &[&str] =
    &["", "alloc", "std", "serde", "serde,std", "arbitrary", "arbitrary,serde", "default"];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("usage: cargo xtask TASK [ARGUMENTS]\n\ntasks:");
        for task in TASKS {
            eprintln!("  {:<12} {}", task.name, task.help);
        }
        return ExitCode::from(if matches!(name.as_str(), "" | "help" | "--help" | "-h") { 0 } else { 2 });
    };
    match (task.run)(&rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask {name}: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn ci(_: &[String]) -> Result<(), Failure> {
    for name in CI {
        let task = TASKS.iter().find(|task| task.name == *name).ok_or("a task of CI has no entry")?;
        section(task.name);
        (task.run)(&[])?;
    }
    Ok(())
}

fn fmt(arguments: &[String]) -> Result<(), Failure> {
    let fix = arguments.iter().any(|argument| argument == "--fix");
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml", "tools/nostd-probe/Cargo.toml"] {
        let command = cargo().args(["fmt", "--all", "--manifest-path", manifest]);
        if fix { command.run()? } else { command.args(["--", "--check"]).run()? }
    }
    Ok(())
}

fn clippy(_: &[String]) -> Result<(), Failure> {
    let workspace: [&[&str]; 3] = [
        &["--workspace", "--all-targets"],
        &["--package", "memtopo", "--no-default-features"],
        &["--workspace", "--all-targets", "--all-features"],
    ];
    for selection in workspace {
        cargo().arg("clippy").args(selection).args(["--", "-D", "warnings"]).run()?;
    }
    cargo()
        .args(["clippy", "--manifest-path", "tools/nostd-probe/Cargo.toml", "--target-dir"])
        .arg(target_dir().join("no-std/build"))
        .args(["--", "-D", "warnings"])
        .run()
}

fn features(_: &[String]) -> Result<(), Failure> {
    for set in FEATURES {
        cargo()
            .args(["check", "--quiet", "--package", "memtopo", "--all-targets"])
            .args(["--no-default-features", "--features", set])
            .run()?;
    }
    println!("the library and its tests build with each of {} feature combinations", FEATURES.len());
    // The unit tests without an allocator; the test run of the workspace has the default features.
    cargo().args(["test", "--quiet", "--package", "memtopo", "--lib", "--no-default-features"]).run()
}

fn test(arguments: &[String]) -> Result<(), Failure> {
    cargo().args(["test", "--workspace"]).args(arguments).run()
}

fn doc(_: &[String]) -> Result<(), Failure> {
    cargo()
        .args(["doc", "--package", "memtopo", "--all-features", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()
}

fn corpus(_: &[String]) -> Result<(), Failure> {
    cargo().args(["run", "--quiet", "--package", "memtopo-properties"]).run()
}

fn msrv(_: &[String]) -> Result<(), Failure> {
    let manifest = process::read("Cargo.toml")?;
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .map(|value| value.trim_matches('"').to_owned())
        .ok_or("Cargo.toml names no rust-version")?;
    let Some(toolchain) = rustup_toolchain(&version) else {
        return Err(format!("toolchain {version} is missing: rustup toolchain install {version} --profile minimal --no-self-update").into());
    };
    // A folder of its own: artefacts of two compilers in one folder push each other out.
    process::tool("rustup")
        .args(["run", &toolchain, "cargo", "check", "--workspace", "--all-targets"])
        .env("CARGO_TARGET_DIR", target_dir().join("msrv"))
        .run()
}
