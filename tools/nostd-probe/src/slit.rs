//! SLIT.

use crate::sink::{Sink, Source};
use memtopo::tables::header::Identity;
use memtopo::tables::output::{Seal, SliceOutput};
use memtopo::tables::slit::*;
use memtopo::units::*;

crate::entry_points!(memtopo_probe_slit_read => read, memtopo_probe_slit_write => write);

fn read(input: &[u8], sink: &mut Sink) {
    let slit = match Slit::parse(input) {
        Ok(slit) => slit,
        Err(fault) => return sink.fault(&fault),
    };
    sink.table(slit.table());
    sink.number(slit.localities());
    match slit.matrix() {
        Ok(matrix) => {
            sink.structure(matrix.distances());
            sink.bytes(matrix.rest());
            // Places inside and outside the matrix.
            let (from, to) = (input.len() % 7, matrix.localities());
            sink.number(matrix.distance(from, to).map_or(1, |distance| distance.0));
            matrix.row(from).into_iter().for_each(|row| sink.structure(row));
        }
        Err(fault) => sink.fault(&fault),
    }
}

fn write(input: &[u8], output: &mut [u8], sink: &mut Sink) {
    let mut source = Source::new(input);
    let localities = source.next16().unwrap_or_default();
    let far = source.next8().unwrap_or_default();
    let distance = |from, to| Distance(if from == to { 10 } else { far });
    let mut writer = SlitWriter::new(SliceOutput::new(output), Identity::default(), localities, distance);
    writer.push_raw(source.rest());
    let seal = if source.rest().is_empty() { Seal::Fill } else { Seal::Keep };
    sink.written(writer.finish(seal));
}
