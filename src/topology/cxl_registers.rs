//! HDM decoder registers of CXL ports, kept as they were read.

use crate::error::TableError;
use crate::tables::hdm::{ComponentRegisters, HdmCapability, HdmDecoder, HdmGlobalControl};
use alloc::vec::Vec;

/// The HDM decoder registers of one port.
#[derive(Clone, Debug, PartialEq)]
pub struct PortRegisters {
    /// What the decoders are able to do.
    pub capability: HdmCapability,
    /// Whether they are used.
    pub control: HdmGlobalControl,
    /// The decoders by index.
    pub decoders: Vec<HdmDecoder>,
}

// Every field is a plain number.
impl Eq for PortRegisters {}

impl PortRegisters {
    /// Reads a copy of component registers; `None` for a port that has no HDM decoders.
    ///
    /// # Errors
    /// As [`ComponentRegisters::parse`].
    pub fn read(bytes: &[u8]) -> Result<Option<Self>, TableError> {
        let registers = ComponentRegisters::parse(bytes)?;
        let of_header = |decoders: &[HdmDecoder]| {
            registers.hdm().map(|header| Self {
                capability: header.capability.get(),
                control: header.control.get(),
                decoders: decoders.to_vec(),
            })
        };
        Ok(of_header(registers.decoders()))
    }
}
