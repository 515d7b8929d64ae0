//! Standard output: colour, buffering, and the end of a pipe.

use crate::args::When;
use anstream::ColorChoice;
use memtopo::render::style::Colour;
use std::fmt;
use std::io::{self, BufWriter, Write};

/// Whether to colour what goes to standard output.
pub(crate) fn colour(when: When) -> Colour {
    match when {
        When::Always => Colour::On,
        When::Never => Colour::Off,
        When::Auto => match anstream::AutoStream::choice(&io::stdout()) {
            ColorChoice::Never => Colour::Off,
            _ => Colour::On,
        },
    }
}

/// Buffered standard output for the library's renderers, which write text.
pub(crate) struct Stdout {
    out: BufWriter<io::StdoutLock<'static>>,
    error: Option<io::Error>,
}

impl Stdout {
    pub(crate) fn new() -> Self {
        Self { out: BufWriter::new(io::stdout().lock()), error: None }
    }

    /// Writes what is buffered and tells the first error that writing met.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }
}

impl fmt::Write for Stdout {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.write_all(text.as_bytes()).map_err(|error| {
            self.error = Some(error);
            fmt::Error
        })
    }
}

/// Renders to standard output.
pub(crate) fn print(render: impl FnOnce(&mut Stdout) -> fmt::Result) -> anyhow::Result<()> {
    let mut out = Stdout::new();
    // A failed write is remembered with its cause, which `finish` tells.
    let rendered = render(&mut out);
    out.finish()?;
    rendered.map_err(Into::into)
}

/// Whether an error is only that nobody reads the output any more.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
