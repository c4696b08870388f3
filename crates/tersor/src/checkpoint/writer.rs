//! Writing checkpoints: tensor by tensor, in place only when complete.

use super::{
    CheckpointError, convert,
    npz::NpzWriter,
    paths, safetensors,
    staging::{StagedFile, StagedFolder},
};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};
use tersor_codec::{Blob, Shard, TensorInfo};

/// Format of the weights that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OutputFormat {
    /// Safetensors: one file, or a folder of shards and the files beside them.
    Safetensors,
    /// One file of NumPy arrays: no metadata, no files beside it, and only NumPy's own types.
    Npz,
}

/// Streams a checkpoint out tensor by tensor, in the order of its `tensors`. Nothing appears under the final name until
/// [`finish`](Self::finish); dropped before that, it leaves nothing behind.
pub struct CheckpointWriter<'w> {
    output: Output<'w>,
    /// All tensors, in order.
    tensors: Vec<TensorInfo>,
    /// The tensor that comes next, or that is being written.
    next: usize,
    /// Bytes of it that have been written.
    written: u64,
    /// Whether a part of it has been written, which may have been empty.
    is_begun: bool,
    notes: Vec<String>,
}

enum Output<'w> {
    Stream(Box<dyn Write + 'w>),
    File(StagedFile, BufWriter<File>),
    Folder(StagedFolder, Vec<BufWriter<File>>),
    Npz(StagedFile, Box<NpzWriter<BufWriter<File>>>),
}

fn misuse<T>(what: String) -> Result<T, CheckpointError> {
    Err(CheckpointError::Misuse(what))
}

impl CheckpointWriter<'_> {
    /// Begins a checkpoint at `dest`: a file if there is one shard without a name and no blob, else a folder.
    ///
    /// With `overwrite`, a file is replaced; a folder is only replaced if it holds nothing but files that are written.
    ///
    /// # Errors
    ///
    /// [`Exists`](CheckpointError::Exists) if something is there that may not be replaced,
    /// [`BadPath`](CheckpointError::BadPath) if a shard or blob would lie outside the folder or two would share a path,
    /// [`Unwritable`](CheckpointError::Unwritable) if the format cannot hold a tensor,
    /// [`Misuse`](CheckpointError::Misuse) if shards, names or shapes do not fit together.
    pub fn create(
        dest: &Path,
        format: OutputFormat,
        tensors: &[TensorInfo],
        shards: &[Shard],
        blobs: &[Blob],
        overwrite: bool,
    ) -> Result<Self, CheckpointError> {
        let mut notes = Vec::new();
        check_tensors(tensors, shards)?;
        let output = match format {
            OutputFormat::Npz => {
                notes.extend(left_out("npz", shards, blobs, false));
                let file = StagedFile::create(dest, overwrite)?;
                let writer = NpzWriter::new(BufWriter::new(file.writer()?), tensors)?;
                Output::Npz(file, Box::new(writer))
            }
            OutputFormat::Safetensors => match shards {
                [] => Self::single(dest, tensors, &[], overwrite)?,
                [Shard { file_name, metadata }] if file_name.is_empty() && blobs.is_empty() => {
                    Self::single(dest, tensors, metadata, overwrite)?
                }
                _ => Self::folder(dest, tensors, shards, blobs, overwrite)?,
            },
        };
        Ok(Self {
            output,
            tensors: tensors.to_vec(),
            next: 0,
            written: 0,
            is_begun: false,
            notes,
        })
    }

    fn single(
        dest: &Path,
        tensors: &[TensorInfo],
        metadata: &[(String, String)],
        overwrite: bool,
    ) -> Result<Output<'static>, CheckpointError> {
        let header = safetensors::header_bytes(&safetensors::Layout {
            tensors: tensors.iter().collect(),
            metadata,
        })?;
        let file = StagedFile::create(dest, overwrite)?;
        let mut writer = BufWriter::new(file.writer()?);
        writer.write_all(&header).map_err(CheckpointError::Stream)?;
        Ok(Output::File(file, writer))
    }

    fn folder(
        dest: &Path,
        tensors: &[TensorInfo],
        shards: &[Shard],
        blobs: &[Blob],
        overwrite: bool,
    ) -> Result<Output<'static>, CheckpointError> {
        let name = |shard: &'_ Shard| match (shard.file_name.as_str(), shards) {
            ("", [_]) => convert::SAFETENSORS_NAME.to_owned(), // one file with files beside it becomes a folder
            (name, _) => name.to_owned(),
        };
        let names: Vec<String> = shards.iter().map(name).collect();
        let files = || {
            names
                .iter()
                .map(String::as_str)
                .chain(blobs.iter().map(|blob| blob.path.as_str()))
        };
        paths::check_all(files().collect::<Vec<_>>().into_iter())?;
        let mut headers = Vec::new();
        for (number, shard) in shards.iter().enumerate() {
            let own = tensors
                .iter()
                .filter(|info| info.shard as usize == number)
                .collect();
            let layout = safetensors::Layout {
                tensors: own,
                metadata: &shard.metadata,
            };
            headers.push(safetensors::header_bytes(&layout)?);
        }
        let staged = StagedFolder::create(dest, overwrite, files())?;
        let mut writers = Vec::new();
        for (name, header) in names.iter().zip(headers) {
            let mut writer = BufWriter::new(staged.create_file(name)?);
            writer.write_all(&header).map_err(CheckpointError::Stream)?;
            writers.push(writer);
        }
        for blob in blobs {
            let mut file = staged.create_file(&blob.path)?;
            file.write_all(&blob.bytes).map_err(CheckpointError::Stream)?;
        }
        Ok(Output::Folder(staged, writers))
    }

    /// Writes the next tensor: row-major, little endian, without gaps.
    ///
    /// # Errors
    ///
    /// [`Misuse`](CheckpointError::Misuse) if the length is not the tensor's, or all have been written.
    pub fn write_tensor(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        let (have, position) = (bytes.len() as u64, self.next);
        match self.tensors.get(position) {
            Some(info) if self.written != 0 => {
                misuse(format!("tensor {:?} has been begun in parts", info.name))
            }
            Some(info) if info.size_bytes() != Some(have) => misuse(format!(
                "tensor {:?} has {:?} bytes, not {have}",
                info.name,
                info.size_bytes().unwrap_or(0)
            )),
            _ => self.write_part(bytes),
        }
    }

    /// Writes the next bytes of the current tensor; when it has all of them the next one begins. For a tensor without
    /// elements, one empty part is due.
    ///
    /// # Errors
    ///
    /// [`Misuse`](CheckpointError::Misuse) if the tensor has fewer bytes, or all tensors have been written.
    pub fn write_part(&mut self, bytes: &[u8]) -> Result<(), CheckpointError> {
        let Some(info) = self.tensors.get(self.next) else {
            return misuse(format!("all {} tensors have been written", self.tensors.len()));
        };
        let size = info.size_bytes().unwrap_or(0);
        let after = self.written + bytes.len() as u64;
        if after > size {
            return misuse(format!(
                "tensor {:?} has {size} bytes, not {after} or more",
                info.name
            ));
        }
        let write = |writer: &mut dyn Write| writer.write_all(bytes).map_err(CheckpointError::Stream);
        match &mut self.output {
            Output::Stream(writer) => write(writer)?,
            Output::File(_, writer) => write(writer)?,
            Output::Folder(_, writers) => match writers.get_mut(info.shard as usize) {
                Some(writer) => write(writer)?,
                None => return misuse(format!("there is no shard {}", info.shard)),
            },
            Output::Npz(_, writer) => {
                if !self.is_begun {
                    writer.start(info)?;
                }
                writer.write(bytes)?;
            }
        }
        self.written = after;
        self.is_begun = true;
        if after == size {
            self.next += 1;
            self.written = 0;
            self.is_begun = false;
        }
        Ok(())
    }

    /// Puts the checkpoint in its place.
    ///
    /// # Errors
    ///
    /// [`Misuse`](CheckpointError::Misuse) if tensors are missing; then nothing appears.
    pub fn finish(self) -> Result<(), CheckpointError> {
        if let Some(info) = self.tensors.get(self.next) {
            return misuse(format!(
                "the checkpoint was finished before tensor {:?} was written",
                info.name
            ));
        }
        let flush = |mut writer: BufWriter<File>| writer.flush().map_err(CheckpointError::Stream);
        match self.output {
            Output::Stream(mut writer) => writer.flush().map_err(CheckpointError::Stream),
            Output::File(file, writer) => {
                flush(writer)?;
                file.commit()
            }
            Output::Folder(folder, writers) => {
                writers.into_iter().try_for_each(flush)?;
                folder.commit()
            }
            Output::Npz(file, writer) => {
                flush(writer.finish()?)?;
                file.commit()
            }
        }
    }

    /// What the output cannot hold and was left out, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

impl<'w> CheckpointWriter<'w> {
    /// Begins a single safetensors file on a stream, such as standard output. Shards are merged, blobs left out:
    /// [`notes`](CheckpointWriter::notes) says so. Buffer the stream if its writes are dear.
    pub fn to_stream(
        stream: impl Write + 'w,
        tensors: &[TensorInfo],
        shards: &[Shard],
        blobs: &[Blob],
    ) -> Result<Self, CheckpointError> {
        check_tensors(tensors, shards)?;
        let metadata = shards.first().map_or(&[][..], |shard| &shard.metadata);
        let header = safetensors::header_bytes(&safetensors::Layout {
            tensors: tensors.iter().collect(),
            metadata,
        })?;
        let notes = left_out("a stream of safetensors", shards, blobs, true);
        let mut stream: Box<dyn Write + 'w> = Box::new(stream);
        stream.write_all(&header).map_err(CheckpointError::Stream)?;
        Ok(Self {
            output: Output::Stream(stream),
            tensors: tensors.to_vec(),
            next: 0,
            written: 0,
            is_begun: false,
            notes,
        })
    }
}

/// What one file of `format` cannot hold.
fn left_out(format: &str, shards: &[Shard], blobs: &[Blob], holds_metadata: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if shards.len() > 1 {
        notes.push(format!(
            "{format} is one file: {} shards were merged",
            shards.len()
        ));
    }
    let kept = shards
        .first()
        .filter(|_| holds_metadata)
        .map(|shard| &shard.metadata);
    // `format` names the framework of a safetensors file: nothing is lost with it.
    let is_lost = |metadata: &Vec<(String, String)>| {
        Some(metadata) != kept && metadata.iter().any(|(key, _)| key != "format")
    };
    if shards.iter().any(|shard| is_lost(&shard.metadata)) {
        notes.push(format!(
            "{format} has no room for all of the metadata, which was left out"
        ));
    }
    if !blobs.is_empty() {
        notes.push(format!(
            "{format} holds tensors only: {} files beside the weights were left out",
            blobs.len()
        ));
    }
    notes
}

/// Checks what every format needs.
fn check_tensors(tensors: &[TensorInfo], shards: &[Shard]) -> Result<(), CheckpointError> {
    let n_shards = shards.len().max(1);
    let mut seen = std::collections::HashSet::new();
    for info in tensors {
        let name = &info.name;
        if info.shard as usize >= n_shards {
            return misuse(format!(
                "tensor {name:?} is in shard {}, but there are {n_shards}",
                info.shard
            ));
        }
        if info.size_bytes().is_none() {
            return misuse(format!(
                "tensor {name:?}: the shape {:?} has more bytes than 64 bits can count",
                info.shape
            ));
        }
        if !seen.insert(name) {
            return misuse(format!("the tensor name {name:?} occurs twice"));
        }
    }
    Ok(())
}
