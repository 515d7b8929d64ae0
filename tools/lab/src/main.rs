//! `lab`: boot a real kernel on firmware tables and compare.

use clap::{Parser, Subcommand};
use memtopo_lab::fetch;
use memtopo_lab::workshop::{Kernel, Workshop};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "lab", version, max_term_width = 100)]
/// Boot a real kernel on firmware tables and compare it with memtopo's plan.
struct Cli {
    #[command(subcommand)]
    command: Task,
    /// Where packages, kernels and results are kept.
    #[arg(long, global = true, value_name = "FOLDER", env = "MEMTOPO_LAB")]
    cache: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Fetch the public packages: kernels, emulator, busybox.
    Fetch,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let workshop = Workshop::open(cli.cache)?;
    match cli.command {
        Task::Fetch => {
            let mut complete = true;
            for (name, result) in fetch::run(&workshop, &Kernel::ALL)? {
                match result {
                    Ok(note) => println!("{name}: {note}"),
                    Err(error) => {
                        complete = false;
                        println!("{name}: missing: {error:#}");
                    }
                }
            }
            Ok(if complete { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
    }
}
