//! `lab`: boot a real kernel on firmware tables and compare.

use anyhow::Context;
use clap::{Parser, Subcommand};
use memtopo_lab::case::{Case, Located, Via};
use memtopo_lab::check::{self, Verdict};
use memtopo_lab::compare::{Answer, compare};
use memtopo_lab::planner::Planner;
use memtopo_lab::workshop::{Kernel, Workshop};
use memtopo_lab::{boot, fetch, keep, random, script, smoke};
use std::path::{Path, PathBuf};
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
    /// Boot a case, or a folder of tables, and keep what the kernel made of it.
    Boot(Boot),
    /// Boot cases and compare what the kernel made of them with the plan.
    Check(Cases),
    /// Compare stored captures with the plan, without booting.
    Replay(Cases),
    /// Boot random machines, compare each with the plan, and shrink those that differ.
    Random(Random),
    /// Boot the twelve fixed machines and compare.
    Smoke(SmokeArgs),
    /// Keep a captured boot in the slim form of `corpus/boots`, or of `corpus/older-boots` for older kernels.
    Keep(Keep),
    /// Print a boot as a shell script.
    Script {
        /// A case folder, a case.json, or a folder of table binaries.
        case: PathBuf,
    },
    /// Compare two captures of the same boot.
    Agree(Agree),
}

/// What a case on the command line may change.
#[derive(Debug, Default, clap::Args)]
struct Changes {
    /// Emulator arguments in place of the case's, as one string.
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true)]
    qemu: Option<String>,
    /// Kernel parameters in place of the case's, behind the base line.
    #[arg(long, value_name = "STRING", allow_hyphen_values = true)]
    cmdline: Option<String>,
    /// Drivers to load before the capture, in order.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    drivers: Option<Vec<String>>,
    /// Events after it, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// How the tables reach the guest: initrd or acpitable.
    #[arg(long, value_name = "WAY")]
    via: Option<String>,
}

impl Changes {
    fn apply(&self, case: &mut Case) -> anyhow::Result<()> {
        if let Some(qemu) = &self.qemu {
            case.qemu = qemu.split_whitespace().map(str::to_owned).collect();
        }
        if let Some(cmdline) = &self.cmdline {
            case.cmdline.clone_from(cmdline);
        }
        if let Some(drivers) = &self.drivers {
            case.modules.clone_from(drivers);
            case.settle = case.settle.max(1);
        }
        if let Some(path) = &self.events {
            let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let event = |(index, line): (usize, &str)| {
                serde_json::from_str(line).with_context(|| format!("{}, line {}", path.display(), index + 1))
            };
            case.events = lines.map(event).collect::<anyhow::Result<_>>()?;
        }
        if let (Some(via), Some(tables)) = (&self.via, &mut case.tables) {
            tables.via = match via.as_str() {
                "initrd" => Via::Initrd,
                "acpitable" => Via::AcpiTable,
                _ => anyhow::bail!("--via: expected initrd or acpitable, found {via:?}"),
            };
        }
        Ok(())
    }
}

#[derive(Debug, clap::Args)]
struct Cases {
    /// Case folders, or folders of table binaries to boot.
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Linux to boot: 7.2, 6.12 or 6.1.
    #[arg(long, default_value = "7.2")]
    kernel: Kernel,
    /// The program that plans; the one built beside this one without it.
    #[arg(long, value_name = "PROGRAM")]
    memtopo: Option<PathBuf>,
    /// Print every difference, not the first few of each case.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
struct Random {
    /// Seed of the first machine; each next one has the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many machines.
    #[arg(long, default_value_t = 10)]
    count: u64,
    /// Linux to boot: 7.2, 6.12 or 6.1.
    #[arg(long, default_value = "7.2")]
    kernel: Kernel,
    /// The program that plans; the one built beside this one without it.
    #[arg(long, value_name = "PROGRAM")]
    memtopo: Option<PathBuf>,
    /// Machines with odd memory maps and events: blocks, settings, drivers, DIMMs.
    #[arg(long)]
    events: bool,
    /// Machines with CXL: trees, what firmware programmed, regions made and deleted, DAX.
    #[arg(long, conflicts_with = "events")]
    cxl: bool,
    /// Leave machines that differ as they are.
    #[arg(long)]
    no_shrink: bool,
    /// Boot and keep; `lab replay` compares later.
    #[arg(long)]
    boot_only: bool,
}

#[derive(Debug, clap::Args)]
struct SmokeArgs {
    /// Keep the captures in this folder, as in `corpus/boots`.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
    /// The program that plans; the one built beside this one without it.
    #[arg(long, value_name = "PROGRAM")]
    memtopo: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Keep {
    /// The folder of the boot.
    booted: PathBuf,
    /// Where it goes; its last part becomes the name of the case.
    folder: PathBuf,
    /// Which kernel's capture: 7.2, 6.12 or 6.1.
    #[arg(long, default_value = "7.2")]
    kernel: Kernel,
    /// What the case is about, in place of what its description says.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Agree {
    /// A case folder.
    first: PathBuf,
    /// Another one.
    second: PathBuf,
    /// Which kernel's captures.
    #[arg(long, default_value = "7.2")]
    kernel: Kernel,
}

#[derive(Debug, clap::Args)]
struct Boot {
    /// A case folder, a case.json, or a folder of table binaries.
    case: PathBuf,
    #[command(flatten)]
    changes: Changes,
    /// Where the capture goes; target/lab/boots/NAME without it.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Linux to boot: 7.2, 6.12 or 6.1.
    #[arg(long, default_value = "7.2")]
    kernel: Kernel,
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
        Task::Check(args) => {
            let mut tally = Tally::default();
            let planner = Planner::find(args.memtopo.clone())?;
            for folder in &args.folders {
                let located = Located::read(folder)?;
                let result = boot::run(&workshop, args.kernel, &located)?;
                let out = workshop.path("boots").join(&located.case.name);
                result.write(&out, &located, args.kernel)?;
                tally.add(&out, &planner, args.kernel, args.all);
            }
            Ok(tally.finish())
        }
        Task::Smoke(args) => {
            let planner = Planner::find(args.memtopo.clone())?;
            let mut tally = Tally::default();
            for smoke in smoke::all() {
                let booted = workshop.path("smoke").join(smoke.name);
                smoke::run(&workshop, Kernel::V7_2, &smoke, &booted)?;
                if let Some(keep) = &args.keep {
                    keep::keep(&booted, &keep.join(smoke.name), Kernel::V7_2, None)?;
                }
                tally.add(&booted, &planner, Kernel::V7_2, false);
            }
            Ok(tally.finish())
        }
        Task::Keep(args) => {
            keep::keep(&args.booted, &args.folder, args.kernel, args.description.as_deref())?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Script { case } => {
            print!("{}", script::render(&Located::read(&case)?.case));
            Ok(ExitCode::SUCCESS)
        }
        Task::Random(args) => run_random(&workshop, &args),
        Task::Replay(args) => {
            let mut tally = Tally::default();
            let planner = Planner::find(args.memtopo.clone())?;
            for folder in &args.folders {
                tally.add(folder, &planner, args.kernel, args.all);
            }
            Ok(tally.finish())
        }
        Task::Agree(args) => {
            let read = |folder: &Path| check::observed(folder, args.kernel);
            let report = compare(&read(&args.first)?, &read(&args.second)?, Answer::Capture);
            for difference in &report.differences {
                println!("{difference}");
            }
            let sections: Vec<_> =
                report.agreed.iter().map(|(name, count)| format!("{name} {count}")).collect();
            println!(
                "{} values agree ({}), {} differ",
                report.total(),
                sections.join(", "),
                report.differences.len()
            );
            Ok(ExitCode::from(u8::from(!report.differences.is_empty())))
        }
        Task::Boot(args) => {
            let mut located = Located::read(&args.case)?;
            args.changes.apply(&mut located.case)?;
            let started = std::time::Instant::now();
            let result = boot::run(&workshop, args.kernel, &located)?;
            let out = args.out.unwrap_or_else(|| workshop.path("boots").join(&located.case.name));
            result.write(&out, &located, args.kernel)?;
            let outcome = result.observed["outcome"].as_str().unwrap_or_default();
            println!("{}: {outcome} after {:.1} s", out.display(), started.elapsed().as_secs_f64());
            Ok(ExitCode::SUCCESS)
        }
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

fn run_random(workshop: &Workshop, args: &Random) -> anyhow::Result<ExitCode> {
    let planner = Planner::find(args.memtopo.clone())?;
    let mut tally = Tally::default();
    for seed in args.seed..args.seed.saturating_add(args.count) {
        if args.cxl {
            run_one(workshop, args, &planner, &mut tally, ("cxl", seed), &random::wishes::machine(seed))?;
        } else if args.events {
            let machine = random::eventful::machine(seed);
            run_one(workshop, args, &planner, &mut tally, ("events", seed), &machine)?;
        } else {
            run_one(workshop, args, &planner, &mut tally, ("seed", seed), &random::generate::machine(seed))?;
        }
    }
    Ok(tally.finish())
}

fn run_one(
    workshop: &Workshop,
    args: &Random,
    planner: &Planner,
    tally: &mut Tally,
    (kind, seed): (&str, u64),
    machine: &impl random::Candidate,
) -> anyhow::Result<()> {
    let name = format!("{kind}-{seed}-{}", args.kernel.number());
    let folder = workshop.path("random").join(&name);
    let description = format!("random machine, seed {seed}");
    let booted = random::boot_until_conclusive(workshop, args.kernel, machine, &folder, &description);
    if let Err(error) = booted {
        println!("{name}: not booted: {error:#}");
        tally.failed += 1;
        return Ok(());
    }
    if args.boot_only {
        println!("{}", folder.display());
        return Ok(());
    }
    let Some(verdict) = tally.add(&folder, planner, args.kernel, false) else { return Ok(()) };
    let differs = matches!(&verdict, Verdict::Compared(report) if !report.differences.is_empty());
    if differs && !args.no_shrink {
        let found = random::shrink(workshop, args.kernel, planner, machine, verdict, &name)?;
        println!("  shrunk in {} boots to {}: {}", found.boots, found.folder.display(), found.verdict);
        if let Verdict::Compared(report) = &found.verdict {
            report.differences.iter().take(8).for_each(|difference| println!("    {difference}"));
        }
    }
    Ok(())
}

/// Cases compared so far.
#[derive(Default)]
struct Tally {
    same: usize,
    different: usize,
    inconclusive: usize,
    failed: usize,
}

impl Tally {
    fn add(&mut self, folder: &Path, planner: &Planner, kernel: Kernel, all: bool) -> Option<Verdict> {
        let verdict = match check::stored(folder, planner, kernel) {
            Ok(verdict) => verdict,
            Err(error) => {
                println!("{error:#}");
                self.failed += 1;
                return None;
            }
        };
        println!("{}: {verdict}", folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy());
        match &verdict {
            Verdict::Inconclusive(_) => self.inconclusive += 1,
            Verdict::Compared(report) if report.differences.is_empty() => self.same += 1,
            Verdict::Compared(report) => {
                self.different += 1;
                let shown = if all { usize::MAX } else { 8 };
                report.differences.iter().take(shown).for_each(|difference| println!("  {difference}"));
                if report.differences.len() > shown {
                    println!("  and {} more", report.differences.len() - shown);
                }
            }
        }
        Some(verdict)
    }

    fn finish(&self) -> ExitCode {
        let Self { same, different, inconclusive, failed } = self;
        println!(
            "{same} the same, {different} different, {inconclusive} inconclusive, {failed} without a boot or a plan"
        );
        ExitCode::from(u8::from(different + failed > 0))
    }
}
