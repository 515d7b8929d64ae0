//! memtopo: memory topology from firmware tables.
//!
//! Thin: arguments, files, colour and exit codes. What is computed and how it looks is the library's business.

mod args;
mod cmd;
mod cxl_input;
mod cxl_list;
mod events;
mod input;
mod policy;
mod spec;
mod term;

use args::{Cli, Command, CxlCommand};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Dump(args) => cmd::dump::run(&args, cli.color).map(|()| ExitCode::SUCCESS),
        Command::Build(args) => cmd::build::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Plan(args) => cmd::plan::run(&args, cli.color),
        Command::Hotplug(args) => cmd::hotplug::run(args, cli.color),
        Command::Explain(args) => cmd::explain::run(args, cli.color).map(|()| ExitCode::SUCCESS),
        Command::Translate(args) => cmd::translate::run(&args, cli.color).map(|()| ExitCode::SUCCESS),
        Command::Cxl(CxlCommand::Plan(args)) => cmd::cxl::run(&args, cli.color),
        Command::Vm(args) => cmd::vm::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Example(args) => cmd::example::run(&args).map(|()| ExitCode::SUCCESS),
    };
    match result {
        Ok(code) => code,
        // Whoever reads the output has seen enough.
        Err(error) if term::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("memtopo: {error:#}");
            ExitCode::from(2)
        }
    }
}
