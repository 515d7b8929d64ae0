//! A CXL machine of sixteen devices: one host bridge with two root ports, a switch of eight devices behind each.

use crate::inputs::GIB;
use memtopo::bundle::cxl_sysfs::CxlSysfs;
use memtopo::bundle::memory_map::{FirmwareMap, MapEntry, MapForm, MapKind};
use memtopo::linux::{Inputs, Kernel, State};
use memtopo::range::AddressRange;
use memtopo::tables::cedt::{
    CedtWriter, CxlVersion, FixedMemoryWindowHeader, HostBridge, InterleaveGranularity, WindowRestrictions,
};
use memtopo::tables::e820::E820Type;
use memtopo::tables::header::Identity;
use memtopo::tables::output::Seal;
use memtopo::topology::cxl::CxlTree;
use memtopo::topology::{TableBytes, Topology};
use memtopo::units::{AcpiUid, ByteCount, PhysAddr};
use std::fmt::Write;

/// The machine: its CEDT, and what its CXL bus shows.
pub struct CxlMachine {
    cedt: Vec<u8>,
    tree: CxlTree,
}

impl CxlMachine {
    /// Makes it.
    ///
    /// # Panics
    /// Never: the tables are short.
    #[must_use]
    pub fn new() -> Self {
        let mut cedt = Vec::new();
        let mut writer = CedtWriter::new(&mut cedt, Identity::default());
        let registers = PhysAddr(0xfe00_0000);
        writer.push(&HostBridge::new(AcpiUid(12), CxlVersion::CXL_2_0, registers, ByteCount(1 << 16)));
        let restrictions = WindowRestrictions::HOST_ONLY_COHERENT.union(WindowRestrictions::VOLATILE);
        let window = FixedMemoryWindowHeader::new(
            PhysAddr(64 * GIB),
            ByteCount(64 * GIB),
            InterleaveGranularity::BYTES_256,
            restrictions,
        );
        writer.push_window(&window, &[AcpiUid(12)]).expect("one target");
        writer.finish(Seal::Fill).expect("below 4 GiB");
        Self { cedt, tree: CxlTree::from_sysfs(&CxlSysfs::read_listing(&listing())) }
    }

    /// Boots a kernel on it.
    pub fn boot(&self, work: impl FnOnce(&State<'_>)) {
        let table = TableBytes::copy(&self.cedt).expect("a whole table");
        let topology = Topology { cxl: Some(self.tree.clone()), ..Topology::read([table]) };
        let ram = AddressRange::new(PhysAddr(0), PhysAddr(GIB));
        let entry = MapEntry { range: ram, kind: MapKind::E820(E820Type::RAM), place: 0 };
        let memory_map = FirmwareMap { form: MapForm::E820Entries, entries: vec![entry] };
        let kernel = Kernel::default();
        let inputs =
            Inputs { topology: &topology, memory_map: &memory_map, memory_devices: &[], kernel: &kernel };
        work(&State::boot(inputs).expect("it comes up"));
    }
}

impl Default for CxlMachine {
    fn default() -> Self {
        Self::new()
    }
}

/// The CXL bus as a running system lists it.
fn listing() -> String {
    let root = "/sys/devices/platform/ACPI0017:00/root0";
    let mut text = format!(
        "{root}/dport12 -> ../../../pci0000:0c\n\
         {root}/port1/uport -> ../../../../pci0000:0c\n\
         {root}/port1/parent_dport -> ../../../../pci0000:0c\n\
         {root}/port1/decoders_committed\t0\n"
    );
    let decoders = |port: &str, number: u32| {
        let mut lines = String::new();
        for index in 0..4 {
            writeln!(lines, "{port}/decoder{number}.{index}/interleave_ways\t1").expect("text");
        }
        lines
    };
    text += &decoders(&format!("{root}/port1"), 1);
    for switch in 0..2_u32 {
        let number = 2 + switch;
        let port = format!("{root}/port1/port{number}");
        let path = format!("../../../../../pci0000:0c/rp{switch}");
        write!(
            text,
            "{root}/port1/dport{switch} -> ../../../../pci0000:0c/rp{switch}\n\
             {port}/uport -> {path}/up{switch}\n\
             {port}/parent_dport -> {path}\n\
             {port}/decoders_committed\t0\n"
        )
        .expect("text");
        text += &decoders(&port, number);
        for place in 0..8_u32 {
            let device = switch * 8 + place;
            let (endpoint, down) =
                (format!("{port}/endpoint{}", 4 + device), format!("{path}/up{switch}/dn{device}"));
            write!(
                text,
                "{port}/dport{place} -> {down}\n\
                 {endpoint}/uport -> {down}/dev{device}/mem{device}\n\
                 {endpoint}/parent_dport -> {down}\n\
                 {endpoint}/decoders_committed\t0\n\
                 /sys/devices/pci0000:0c/rp{switch}/up{switch}/dn{device}/dev{device}/mem{device}/serial\t{device}\n\
                 /sys/devices/pci0000:0c/rp{switch}/up{switch}/dn{device}/dev{device}/mem{device}/ram/size\t0x40000000\n"
            )
            .expect("text");
            text += &decoders(&endpoint, 4 + device);
        }
    }
    text
}
