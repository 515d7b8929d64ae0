//! The command line: the only place that knows its grammar.

use clap::{Args, Parser, Subcommand, ValueEnum};
use memtopo::hotplug::goal::size;
use memtopo::hotplug::{DeviceKind, Percent, WantedZone};
use memtopo::units::{ByteCount, PhysAddr};
use std::path::PathBuf;

/// Memory topology from firmware tables: read, write, and compute what Linux makes of it.
#[derive(Debug, Parser)]
#[command(name = "memtopo", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// When to use colour; NO_COLOR, CLICOLOR and TERM=dumb are obeyed.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show tables field by field.
    Dump(Dump),
    /// Make tables from a dump or from a machine description.
    Build(Build),
    /// Compute what Linux makes of a machine: nodes, tiers, demotion targets.
    Plan(Plan),
    /// Plan memory that comes and goes: steps, layout, cost, risks, better settings.
    Hotplug(Hotplug),
    /// Tell why a node, a tier, a region or an address is as the plan says.
    Explain(Explain),
    /// Tell which byte of which CXL device is behind a system address, and back.
    Translate(Translate),
    /// List the CXL regions that a machine can have, and the commands that make the best of them.
    #[command(subcommand)]
    Cxl(CxlCommand),
    /// Print a shell script that boots Linux on a set of tables in an emulator.
    Vm(Vm),
    /// Print a bundled machine description to start from.
    Example(Example),
}

/// Where tables come from.
#[derive(Debug, Args)]
pub(crate) struct Inputs {
    /// Files, folders, or - for standard input: table binaries, acpidump text, an initrd with table upgrades, a
    /// memory image, a copied /sys tree. Told apart by content.
    #[arg(value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Take the inputs as this form, which has no mark of its own.
    #[arg(long = "as", value_name = "FORM")]
    pub(crate) form: Option<Form>,
    /// Bytes from one EFI descriptor to the next, with --as efi-map.
    #[arg(long, value_name = "BYTES", default_value = "48")]
    pub(crate) stride: usize,
    /// Physical address of the first byte of a memory image.
    #[arg(long, value_name = "ADDR", value_parser = number)]
    pub(crate) image_base: Option<u64>,
    /// Read the tables of the running machine.
    #[arg(long)]
    pub(crate) live: bool,
    /// Component registers of a CXL port, its host bridge, function or memory device; a file that is named after the port
    /// may stand among the inputs as well. Repeatable.
    #[arg(long, value_name = "PORT=FILE")]
    pub(crate) registers: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A CDAT, however odd its bytes are.
    Cdat,
    /// EFI memory descriptors; see --stride.
    EfiMap,
    /// E820 entries of 20 bytes.
    E820,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

/// Show tables field by field.
///
/// Every byte of the input is accounted for; faults are marked where they are. Exit code 2 only when nothing
/// could be decoded.
#[derive(Debug, Args)]
pub(crate) struct Dump {
    #[command(flatten)]
    pub(crate) inputs: Inputs,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: DumpFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DumpFormat {
    /// A line for each field: offset, bytes, name, value, unit.
    Text,
    /// Every field and every byte; `memtopo build` makes the same table from it.
    Json,
    /// Data-table source that iasl compiles.
    Dsl,
    /// Every byte with what it is.
    Hex,
}

/// Make tables from a dump or from a machine description.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The JSON of `memtopo dump --format json`, or a machine description in TOML; - for standard input.
    #[arg(value_name = "SPEC", default_value = "-")]
    pub(crate) spec: PathBuf,
    /// Folder for the binaries, one for each table; without it a single table goes to standard output.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    /// Fill in table lengths and checksums even where the JSON has them.
    #[arg(long)]
    pub(crate) reseal: bool,
}

/// A machine and the kernel on it.
///
/// Without an input, a bundled machine of two nodes is taken.
#[derive(Debug, Args)]
pub(crate) struct Machine {
    #[command(flatten)]
    pub(crate) inputs: Inputs,
    /// The physical memory map: a kernel log, a /sys/firmware/memmap tree, a UEFI shell listing, /proc/iomem.
    #[arg(long, value_name = "FILE")]
    pub(crate) memory_map: Option<PathBuf>,
    /// The kernel to model: 7.2, 6.12 or 6.1.
    #[arg(long, value_name = "VERSION", default_value = "7.2")]
    pub(crate) kernel: String,
    /// The kernel command line.
    #[arg(long, value_name = "STRING", default_value = "")]
    pub(crate) cmdline: String,
    /// Loaded drivers that matter, in order: dax_hmem, kmem, ...
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) drivers: Vec<String>,
    /// A fact that no table holds; repeatable: hypervisor=yes|no, x2apic=yes|no, boot_apic_id=N,
    /// cpu_vendor=intel|amd, cache_id=APIC_ID:CACHE_ID (AMD; 0 for all unless given), reserved=START-END
    /// (or, by who took it: kernel_image=, initrd=, acpi_tables=START-END), gib_pages=yes|no, max_nodes=N, rereads_hmat=yes|no (a kernel that reads an HMAT that changes at run time; none does),
    /// cxl_link=[PCI_FUNCTION=]GTSxLANES[:68|:256] (negotiated links, with bytes in a flit), cxl_qtg=none or
    /// LARGEST:GROUP,... (what the QoS method of ACPI0017 answers), emulator=qemu|none (what QEMU has and no table
    /// tells; by the ids in the CEDT unless given).
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) platform: Vec<String>,
    /// An ACPI memory device present at boot: start=ADDR,size=BYTES,domain=N; repeatable.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) memory_device: Vec<String>,
}

/// Compute what Linux makes of a machine.
///
/// Without an input, a bundled machine of two nodes is planned.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) machine: Machine,
    /// What the owner of the machine wants instead, in TOML: tiers, overrides, quirks; printed beside the kernel's
    /// layout of the boot with what differs.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Quirks of the kernel to switch off, by name, or `off` for all of them.
    #[arg(long, value_name = "off|LIST", value_delimiter = ',')]
    pub(crate) quirks: Vec<String>,
    /// What happens after the boot, one JSON object a line: load, set, add_memory, remove_memory, online, offline,
    /// update_table, move_node; - for standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// Exit with 1 when an event is refused.
    #[arg(long, requires = "events")]
    pub(crate) strict: bool,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: PlanFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// For people.
    Text,
    /// For programs; the shape is documented and stable.
    Json,
    /// The files of the running kernel, after all events: `PATH<TAB>VALUE`, as `cat` prints the value.
    Sysfs,
}

/// Plan memory that comes and goes.
#[derive(Debug, Args)]
pub(crate) struct Hotplug {
    #[command(subcommand)]
    pub(crate) command: HotplugCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HotplugCommand {
    /// Take a goal and a machine, and print the steps and what comes of them.
    Plan(Box<HotplugPlan>),
}

/// Take a goal and a machine, and print the steps with their commands, the layout that they lead to, the cost in
/// bytes, the risks, and the settings that would do better.
///
/// Each option below is a goal of its own, in this order; --goal says several in plain words. Exit code 1 when a goal
/// cannot be met.
#[derive(Debug, Args)]
pub(crate) struct HotplugPlan {
    #[command(flatten)]
    pub(crate) machine: Machine,
    /// Keep movable memory within so many times the kernel memory: 3, 3:1 or 300%.
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    pub(crate) keep_ratio: Option<Percent>,
    /// Add memory: a size, and where it begins if that is settled; repeatable.
    #[arg(long, value_name = "SIZE[@ADDR]", value_parser = addition)]
    pub(crate) add: Vec<(ByteCount, Option<PhysAddr>)>,
    /// The node of added memory.
    #[arg(long, value_name = "N", requires = "add", conflicts_with = "domain")]
    pub(crate) node: Option<u32>,
    /// The proximity domain of added memory.
    #[arg(long, value_name = "N", requires = "add")]
    pub(crate) domain: Option<u32>,
    /// What brings added memory: dimm, cxl or hmem (soft-reserved memory).
    #[arg(long, value_name = "KIND", default_value = "dimm", value_parser = device)]
    pub(crate) device: DeviceKind,
    /// The zone of added memory: movable, kernel, or auto for what the settings pick.
    #[arg(long, value_name = "ZONE", default_value = "auto", value_parser = zone)]
    pub(crate) zone: WantedZone,
    /// Remove a device: its number in the printed layout, its name, node N, or a range FIRST-LAST or START+SIZE;
    /// repeatable.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) remove: Vec<String>,
    /// Goals in plain words, such as "add 512 GiB of CXL as movable", "be able to remove device 2", "keep the movable
    /// to kernel ratio at 3"; several are joined by "then"; repeatable.
    #[arg(long, value_name = "WORDS")]
    pub(crate) goal: Vec<String>,
    /// What happened since the boot, or is to be tried: one JSON object a line, as for `memtopo plan`.
    #[arg(long, value_name = "FILE")]
    pub(crate) events: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: HotplugFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HotplugFormat {
    /// For people, 80 columns wide.
    Text,
    /// For programs.
    Json,
}

/// Tell why a node, a tier, a region or an address is as the plan says.
///
/// The question stands behind the inputs: node N, tier N, region NAME, or an address. The answer goes from the bytes of the tables to
/// the result, with every rule, kernel function and number on the way.
#[derive(Debug, Args)]
#[command(override_usage = "memtopo explain [OPTIONS] [INPUT]... <node N | tier N | region NAME | ADDR>")]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) machine: Machine,
}

/// Tell which byte of which CXL device is behind a system address, and back.
///
/// The answer is what the decoders do; where Linux names another device or address, that is told beside it. An address
/// that the region does not hold makes the exit code 2, after all others are answered.
#[derive(Debug, Args)]
#[command(override_usage = "memtopo translate [OPTIONS] <INPUT>... --region <NAME> \
                            <--hpa <ADDR>... | --dpa <DEVICE:ADDR>...>")]
pub(crate) struct Translate {
    #[command(flatten)]
    pub(crate) machine: Machine,
    /// The region: one that firmware programmed, or that the captured system has.
    #[arg(long, value_name = "NAME")]
    pub(crate) region: String,
    /// System addresses, as the CPU uses them.
    #[arg(long, value_name = "ADDR", num_args = 1.., required_unless_present = "dpa")]
    pub(crate) hpa: Vec<String>,
    /// Devices, by name, PCI function or serial number, each with an address in it.
    #[arg(long, value_name = "DEVICE:ADDR", num_args = 1..)]
    pub(crate) dpa: Vec<String>,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: TranslateFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TranslateFormat {
    /// For people.
    Text,
    /// One object.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CxlCommand {
    /// List every legal layout of a region, and pick the best.
    Plan(CxlPlan),
}

/// List every legal layout of a region in a window, and pick the best by bandwidth and by latency.
///
/// With --ways, --granularity, --size or --order the layout of that wish is printed; where there is none, the rule that is
/// in the way and the legal wish that comes nearest, and the exit code is 1.
#[derive(Debug, Args)]
pub(crate) struct CxlPlan {
    #[command(flatten)]
    pub(crate) machine: Machine,
    /// The root decoder.
    #[arg(long, value_name = "DECODER", default_value = "decoder0.0")]
    pub(crate) window: String,
    /// The devices that may take part, by name, PCI function or serial number; all without it.
    #[arg(long, value_name = "LIST", value_delimiter = ',', conflicts_with = "order")]
    pub(crate) devices: Vec<String>,
    /// ram or pmem.
    #[arg(long, value_name = "MODE", default_value = "ram")]
    pub(crate) mode: String,
    /// How many ways.
    #[arg(long, value_name = "N")]
    pub(crate) ways: Option<u32>,
    /// In pieces of how many bytes.
    #[arg(long, value_name = "BYTES")]
    pub(crate) granularity: Option<String>,
    /// How large the region is to be.
    #[arg(long, value_name = "BYTES")]
    pub(crate) size: Option<String>,
    /// The devices by position.
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) order: Vec<String>,
    /// Print so many orders of each layout.
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) orders: usize,
    /// What to print.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: TranslateFormat,
}

/// Print a shell script that boots Linux on a set of tables in an emulator.
///
/// The script says which public packages it needs. The tables go in through the initrd.
#[derive(Debug, Args)]
pub(crate) struct Vm {
    /// A folder of table binaries, or a captured boot.
    #[arg(value_name = "INPUT")]
    pub(crate) input: PathBuf,
    /// Kernel parameters behind those that the script sets itself.
    #[arg(long, value_name = "STRING", default_value = "")]
    pub(crate) cmdline: String,
}

/// Print a bundled machine description to start from.
#[derive(Debug, Args)]
pub(crate) struct Example {
    /// Which one; without it the names are listed.
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

fn ratio(text: &str) -> Result<Percent, String> {
    Percent::parse(text).ok_or_else(|| "expected 3, 3:1 or 300%".to_owned())
}

fn device(text: &str) -> Result<DeviceKind, String> {
    DeviceKind::from_name(text).ok_or_else(|| "expected dimm, cxl or hmem".to_owned())
}

fn zone(text: &str) -> Result<WantedZone, String> {
    WantedZone::from_name(text).ok_or_else(|| "expected movable, kernel or auto".to_owned())
}

fn addition(text: &str) -> Result<(ByteCount, Option<PhysAddr>), String> {
    let (length, at) = match text.split_once('@') {
        Some((length, at)) => (length, Some(PhysAddr(number(at)?))),
        None => (text, None),
    };
    let length = size(length).ok_or_else(|| format!("{length:?}: expected a size, such as 256GiB"))?;
    Ok((length, at))
}

/// A number in decimal or, with `0x`, in hexadecimal; underscores are allowed.
pub(crate) fn number(text: &str) -> Result<u64, String> {
    let plain = text.replace('_', "");
    match plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => plain.parse(),
    }
    .map_err(|error| format!("{text:?}: {error}"))
}
