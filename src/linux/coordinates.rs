//! Latency and bandwidth as the kernel keeps them, by access class.

use crate::tables::hmat::DataType;
use crate::units::{EntryBaseUnit, MatrixCell, MegabytesPerSecond, Nanoseconds};

/// How fast memory is, as the kernel shows it; 0 where it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Coordinates {
    /// Latency of reads.
    pub read_latency: Nanoseconds,
    /// Latency of writes.
    pub write_latency: Nanoseconds,
    /// Bandwidth of reads.
    pub read_bandwidth: MegabytesPerSecond,
    /// Bandwidth of writes.
    pub write_bandwidth: MegabytesPerSecond,
}

impl Coordinates {
    /// Sets the members that a data type is about.
    pub(super) fn set(&mut self, kind: DataType, value: u32) {
        let (latency, bandwidth) = (Nanoseconds(value), MegabytesPerSecond(value));
        match kind {
            DataType::ACCESS_LATENCY => (self.read_latency, self.write_latency) = (latency, latency),
            DataType::READ_LATENCY => self.read_latency = latency,
            DataType::WRITE_LATENCY => self.write_latency = latency,
            DataType::ACCESS_BANDWIDTH => {
                (self.read_bandwidth, self.write_bandwidth) = (bandwidth, bandwidth)
            }
            DataType::READ_BANDWIDTH => self.read_bandwidth = bandwidth,
            DataType::WRITE_BANDWIDTH => self.write_bandwidth = bandwidth,
            _ => {}
        }
    }

    /// The member that a data type is about; of two the one for writes.
    #[must_use]
    pub fn get(&self, kind: DataType) -> u32 {
        match kind {
            DataType::READ_LATENCY => self.read_latency.0,
            DataType::ACCESS_LATENCY | DataType::WRITE_LATENCY => self.write_latency.0,
            DataType::READ_BANDWIDTH => self.read_bandwidth.0,
            _ => self.write_bandwidth.0,
        }
    }

    /// Read and write latency together, wrapping as the kernel's sum does.
    #[must_use]
    pub const fn latency(&self) -> u32 {
        self.read_latency.0.wrapping_add(self.write_latency.0)
    }

    /// Read and write bandwidth together, wrapping as the kernel's sum does.
    #[must_use]
    pub const fn bandwidth(&self) -> u32 {
        self.read_bandwidth.0.wrapping_add(self.write_bandwidth.0)
    }
}

/// Whose view coordinates are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The best initiators of any kind (`access0`).
    Local,
    /// The best initiators with processors (`access1`).
    Cpu,
    /// As `Local`, for a generic port.
    PortLocal,
    /// As `Cpu`, for a generic port.
    PortCpu,
}

impl Class {
    /// The classes that nodes show.
    pub const SHOWN: [Self; 2] = [Self::Local, Self::Cpu];

    pub(super) const fn needs_cpu(self) -> bool {
        matches!(self, Self::Cpu | Self::PortCpu)
    }

    pub(super) const fn of_port(self) -> bool {
        matches!(self, Self::PortLocal | Self::PortCpu)
    }

    /// The number in the name of the directory.
    #[must_use]
    pub const fn number(self) -> u8 {
        if self.needs_cpu() { 1 } else { 0 }
    }
}

/// Coordinates for each [`Class`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ByClass {
    pub(super) local: Coordinates,
    pub(super) cpu: Coordinates,
    pub(super) port_local: Coordinates,
    pub(super) port_cpu: Coordinates,
}

impl ByClass {
    /// Those of one class.
    #[must_use]
    pub const fn get(&self, class: Class) -> &Coordinates {
        match class {
            Class::Local => &self.local,
            Class::Cpu => &self.cpu,
            Class::PortLocal => &self.port_local,
            Class::PortCpu => &self.port_cpu,
        }
    }

    pub(super) const fn get_mut(&mut self, class: Class) -> &mut Coordinates {
        match class {
            Class::Local => &mut self.local,
            Class::Cpu => &mut self.cpu,
            Class::PortLocal => &mut self.port_local,
            Class::PortCpu => &mut self.port_cpu,
        }
    }
}

/// The value of a matrix cell in nanoseconds or MB/s (`hmat_normalize`); 0 for unknown.
#[must_use]
pub fn normalise(cell: MatrixCell, base: EntryBaseUnit, kind: DataType, revision: u8) -> u32 {
    let entry = u64::from(cell.0);
    if entry == 0 || entry == 0xffff {
        return 0;
    }
    let Some(value) = entry.checked_mul(base.0).and_then(|value| u32::try_from(value).ok()) else { return 0 };
    match revision {
        1 if value < 10 => 0,
        1 => value.wrapping_add(9) / 10,
        2 if kind.is_latency() => value.wrapping_add(999) / 1000,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Worked example I of the tiers sheet, and the limits of the rule.
    #[test]
    fn cells_are_scaled_and_rounded_as_the_kernel_does() {
        let latency = |cell, base, revision| {
            normalise(MatrixCell(cell), EntryBaseUnit(base), DataType::ACCESS_LATENCY, revision)
        };
        assert_eq!([100, 301, 65534].map(|cell| latency(cell, 999, 2)), [100, 301, 65469]);
        assert_eq!([0, 0xffff].map(|cell| latency(cell, 1, 2)), [0, 0]);
        assert_eq!([9, 10, 11].map(|cell| latency(cell, 1, 1)), [0, 1, 2]);
        assert_eq!(latency(2, 1 << 31, 2), 0);
        let bandwidth =
            |cell, base| normalise(MatrixCell(cell), EntryBaseUnit(base), DataType::ACCESS_BANDWIDTH, 2);
        assert_eq!(bandwidth(100, 1 << 20), 104_857_600);
        assert_eq!(bandwidth(2, u64::MAX), 0);
    }
}
