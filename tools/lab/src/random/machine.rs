//! A machine that can be taken apart: what goes into its tables, structure by structure.

use crate::case::{Case, Delivery, Via, machine};
use anyhow::Result;
use memtopo::tables::cedt::{CedtWriter, FixedMemoryWindowHeader, InterleaveGranularity, WindowRestrictions};
use memtopo::tables::header::{Identity, SdtHeader};
use memtopo::tables::hmat::{
    AttributeFlags, CacheAttributes, DataType, HmatPrologue, HmatWriter, LocalityHeader,
    MemoryProximityAttributes, MemorySideCacheHeader,
};
use memtopo::tables::output::Seal;
use memtopo::tables::slit::{SlitPrologue, SlitWriter};
use memtopo::tables::srat::{
    Device, GenericAffinity, GenericFlags, LocalApicAffinity, MemoryAffinity, MemoryFlags, ProcessorFlags,
    SratPrologue, SratWriter, X2ApicAffinity,
};
use memtopo::tables::wire::Reserved;
use memtopo::units::{
    AcpiUid, ApicId, ByteCount, EntryBaseUnit, MatrixCell, PciSegment, PhysAddr, ProximityDomain, Signature,
};
use serde_json::Value;

/// A machine and what its kernel is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Machine {
    /// RAM.
    pub mebibytes: u64,
    /// Processors.
    pub processors: u64,
    /// The SRAT.
    pub srat: Option<Srat>,
    /// The SLIT.
    pub slit: Option<Slit>,
    /// The HMAT.
    pub hmat: Option<Hmat>,
    /// Windows of the CEDT.
    pub windows: Vec<Window>,
    /// Kernel parameters.
    pub options: Vec<String>,
    /// Drivers.
    pub modules: Vec<String>,
    /// Nodes that the emulator describes by itself, so that DIMMs can be plugged; empty without them.
    pub described: Vec<Described>,
    /// Events after the boot.
    pub events: Vec<Value>,
}

/// A node of the emulator's own SRAT.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// Its memory.
    pub mebibytes: u64,
    /// Its processors, by number.
    pub processors: Vec<u64>,
}

/// SRAT.
#[derive(Clone, Debug, PartialEq)]
pub struct Srat {
    /// Revision of the table.
    pub revision: u8,
    /// Its structures, in order.
    pub entries: Vec<Affinity>,
}

/// A structure of the SRAT.
#[derive(Clone, Debug, PartialEq)]
pub enum Affinity {
    /// Types 0 and 2.
    Processor {
        /// Its domain.
        domain: u32,
        /// Its APIC id.
        id: u32,
        /// As type 2.
        x2apic: bool,
        /// It counts.
        enabled: bool,
    },
    /// Type 1.
    Memory {
        /// Its domain.
        domain: u32,
        /// First byte.
        start: u64,
        /// Bytes.
        size: u64,
        /// Flags as they stand in the table.
        flags: u32,
    },
    /// Types 5 and 6.
    Generic {
        /// Its domain.
        domain: u32,
        /// A port, not an initiator.
        port: bool,
        /// It counts.
        enabled: bool,
    },
}

/// SLIT.
#[derive(Clone, Debug, PartialEq)]
pub struct Slit {
    /// Number of localities that it claims.
    pub localities: u64,
    /// Its distances, row by row; as many as there are.
    pub cells: Vec<u8>,
}

/// HMAT.
#[derive(Clone, Debug, PartialEq)]
pub struct Hmat {
    /// Revision of the table.
    pub revision: u8,
    /// Its structures, in order.
    pub parts: Vec<Part>,
}

/// A structure of the HMAT.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Type 0.
    Proximity {
        /// The memory.
        memory: u32,
        /// Its initiator.
        initiator: u32,
        /// Flags as they stand in the table.
        flags: u16,
    },
    /// Type 1.
    Locality {
        /// Flags as they stand in the table: the level of the hierarchy.
        flags: u8,
        /// 0 to 2 latency, 3 to 5 bandwidth.
        data_type: u8,
        /// Base unit.
        unit: u64,
        /// Rows.
        initiators: Vec<u32>,
        /// Columns.
        targets: Vec<u32>,
        /// Cells, row by row.
        cells: Vec<u16>,
    },
    /// Type 2.
    Cache {
        /// The memory.
        memory: u32,
        /// Bytes.
        size: u64,
        /// Attributes as they stand in the table.
        attributes: u32,
    },
}

/// A CFMWS with one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub size: u64,
}

impl Machine {
    /// The tables, with the file names of a case.
    ///
    /// # Errors
    /// A table is too long.
    pub fn tables(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut tables = Vec::new();
        if let Some(srat) = &self.srat {
            tables.push(("input/SRAT.bin".to_owned(), srat.bytes()?));
        }
        if let Some(slit) = &self.slit {
            tables.push(("input/SLIT.bin".to_owned(), slit.bytes()?));
        }
        if let Some(hmat) = &self.hmat {
            tables.push(("input/HMAT.bin".to_owned(), hmat.bytes()?));
        }
        if !self.windows.is_empty() {
            tables.push(("input/CEDT.bin".to_owned(), cedt(&self.windows)?));
        }
        Ok(tables)
    }

    /// The case that boots this machine with its [`tables`](Self::tables).
    #[must_use]
    pub fn case(&self, name: &str, description: &str) -> Case {
        let named = [
            ("input/SRAT.bin", self.srat.is_some()),
            ("input/SLIT.bin", self.slit.is_some()),
            ("input/HMAT.bin", self.hmat.is_some()),
            ("input/CEDT.bin", !self.windows.is_empty()),
        ];
        let files: Vec<_> =
            named.iter().filter(|(_, there)| *there).map(|(name, _)| (*name).to_owned()).collect();
        Case {
            name: name.to_owned(),
            description: description.to_owned(),
            qemu: self.qemu(),
            cmdline: self.options.join(" "),
            tables: (!files.is_empty()).then_some(Delivery { via: Via::Initrd, files, addr: None }),
            modules: self.modules.clone(),
            settle: u32::from(!self.modules.is_empty()),
            events: self.events.clone(),
            ..Case::default()
        }
    }

    fn qemu(&self) -> Vec<String> {
        if self.described.is_empty() {
            return machine(self.mebibytes, self.processors);
        }
        let total: u64 = self.described.iter().map(|node| node.mebibytes).sum();
        let mut qemu = machine(total, self.processors);
        // Room for DIMMs.
        for size in qemu.iter_mut().filter(|word| word.ends_with('M')) {
            size.push_str(",slots=16,maxmem=12G");
        }
        for (index, node) in self.described.iter().enumerate() {
            let mut described = format!("node,nodeid={index}");
            if node.mebibytes > 0 {
                qemu.push("-object".to_owned());
                qemu.push(format!("memory-backend-ram,id=m{index},size={}M", node.mebibytes));
                described.push_str(&format!(",memdev=m{index}"));
            }
            for processor in &node.processors {
                described.push_str(&format!(",cpus={processor}"));
            }
            qemu.extend(["-numa".to_owned(), described]);
        }
        qemu
    }
}

impl Srat {
    fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let header = SdtHeader::new(Signature::SRAT, self.revision, Identity::default());
        let prologue = SratPrologue { table_revision: 1.into(), reserved: Reserved([0; 8]).into() };
        let mut writer = SratWriter::with_header(&mut bytes, &header, &prologue);
        for entry in &self.entries {
            match *entry {
                Affinity::Processor { domain, id, x2apic, enabled } => {
                    let flags = if enabled { ProcessorFlags::ENABLED } else { ProcessorFlags(0) };
                    let domain = ProximityDomain(domain);
                    match u8::try_from(id) {
                        Ok(id) if !x2apic => {
                            writer.push(&LocalApicAffinity {
                                flags: flags.into(),
                                ..LocalApicAffinity::new(domain, id)
                            });
                        }
                        _ => {
                            let entry = X2ApicAffinity::new(domain, ApicId(id));
                            writer.push(&X2ApicAffinity { flags: flags.into(), ..entry });
                        }
                    }
                }
                Affinity::Memory { domain, start, size, flags } => {
                    let (start, size) = (PhysAddr(start), ByteCount(size));
                    writer.push(&MemoryAffinity::new(
                        ProximityDomain(domain),
                        start,
                        size,
                        MemoryFlags(flags),
                    ));
                }
                Affinity::Generic { domain, port, enabled } => {
                    let domain = ProximityDomain(domain);
                    let entry = if port {
                        GenericAffinity::port(domain, Device::Acpi { hid: *b"ACPI0016", uid: AcpiUid(7) })
                    } else {
                        let device = Device::Pci { segment: PciSegment(0), bus: 0, device_function: 0x20 };
                        GenericAffinity::initiator(domain, device)
                    };
                    let flags = if enabled { GenericFlags::ENABLED } else { GenericFlags(0) };
                    writer.push(&GenericAffinity { flags: flags.into(), ..entry });
                }
            }
        }
        writer.finish(Seal::Fill)?;
        Ok(bytes)
    }
}

impl Slit {
    fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let header = SdtHeader::new(Signature::SLIT, 1, Identity::default());
        let prologue = SlitPrologue { locality_count: self.localities.into() };
        let mut writer = SlitWriter::with_header(&mut bytes, &header, &prologue);
        writer.push_raw(&self.cells);
        writer.finish(Seal::Fill)?;
        Ok(bytes)
    }
}

impl Hmat {
    fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let header = SdtHeader::new(Signature::HMAT, self.revision, Identity::default());
        let prologue = HmatPrologue { reserved: Reserved([0; 4]).into() };
        let mut writer = HmatWriter::with_header(&mut bytes, &header, &prologue);
        for part in &self.parts {
            match part {
                Part::Proximity { memory, initiator, flags } => {
                    let initiator = Some(ProximityDomain(*initiator));
                    let entry = MemoryProximityAttributes::new(ProximityDomain(*memory), initiator);
                    writer.push(&MemoryProximityAttributes { flags: AttributeFlags(*flags).into(), ..entry });
                }
                Part::Locality { flags, data_type, unit, initiators, targets, cells } => {
                    let header = LocalityHeader::new(DataType(*data_type), EntryBaseUnit(*unit));
                    let header = LocalityHeader {
                        flags: memtopo::tables::hmat::LocalityFlags(*flags).into(),
                        ..header
                    };
                    let domains =
                        |list: &[u32]| list.iter().copied().map(ProximityDomain).collect::<Vec<_>>();
                    let mut cells = cells.iter();
                    writer.push_locality(&header, &domains(initiators), &domains(targets), |_, _| {
                        MatrixCell(cells.next().copied().unwrap_or_default())
                    })?;
                }
                Part::Cache { memory, size, attributes } => {
                    let attributes = CacheAttributes(*attributes);
                    let header =
                        MemorySideCacheHeader::new(ProximityDomain(*memory), ByteCount(*size), attributes);
                    writer.push_memory_side_cache(&header, &[])?;
                }
            }
        }
        writer.finish(Seal::Fill)?;
        Ok(bytes)
    }
}

fn cedt(windows: &[Window]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = CedtWriter::new(&mut bytes, Identity::default());
    for window in windows {
        let restrictions = WindowRestrictions::HOST_ONLY_COHERENT.union(WindowRestrictions::VOLATILE);
        let (start, size) = (PhysAddr(window.start), ByteCount(window.size));
        let header = FixedMemoryWindowHeader::new(start, size, InterleaveGranularity(0), restrictions);
        writer.push_window(&header, &[AcpiUid(7)])?;
    }
    writer.finish(Seal::Fill)?;
    Ok(bytes)
}
