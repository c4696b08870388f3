//! Which images a folder has, and their labels.

use super::Folder;
use crate::error::{DataError, Result};
use std::path::{Component, Path, PathBuf};

/// The table of labels.
pub(super) const TABLE: &str = "labels.csv";
const EXPECTED: &str = "expected are a subfolder of JPEG or PNG images per class, or a table labels.csv with columns \
                        file and label beside the images";

/// One subfolder per class.
pub(super) fn from_subfolders(dir: &Path) -> Result<Folder> {
    let (mut files, mut labels, mut class_names) = (Vec::new(), Vec::new(), Vec::new());
    for class in entries(dir)?.into_iter().filter(|path| path.is_dir()) {
        let images: Vec<PathBuf> = entries(&class)?
            .into_iter()
            .filter(|path| is_image(path))
            .collect();
        if images.is_empty() {
            continue;
        }
        let label = u16::try_from(class_names.len())
            .map_err(|_| layout(dir, "more than 65536 subfolders with images".to_owned()))?;
        class_names.push(
            class
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        );
        labels.resize(labels.len() + images.len(), label);
        files.extend(images);
    }
    if files.is_empty() {
        return Err(layout(dir, format!("no images; {EXPECTED}")));
    }
    let classes = class_names.len();
    Ok(Folder {
        dir: dir.to_owned(),
        files,
        labels,
        class_names,
        classes,
    })
}

/// A table of file names and labels.
pub(super) fn from_table(dir: &Path, table: &Path) -> Result<Folder> {
    let table_error = |source| DataError::Table {
        path: table.to_owned(),
        source,
    };
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(table)
        .map_err(table_error)?;
    let header = reader.headers().map_err(table_error)?;
    let column = |name: &str| header.iter().position(|column| column == name);
    let (Some(file_column), Some(label_column)) = (column("file"), column("label")) else {
        let found: Vec<_> = header.iter().collect();
        return Err(DataError::corrupt(
            table,
            format!("columns are {found:?}, expected are file and label"),
        ));
    };
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(table_error)?;
        let (file, label) = (&record[file_column], &record[label_column]);
        let wrong = |what: String| DataError::corrupt(table, format!("row {}: {what}", row + 1));
        labels.push(
            label
                .parse()
                .map_err(|_| wrong(format!("label {label:?} is not a number from 0 to 65535")))?,
        );
        files.push(locate(dir, file).map_err(wrong)?);
    }
    let Some(greatest) = labels.iter().max() else {
        return Err(DataError::corrupt(table, "no rows below the header"));
    };
    let classes = usize::from(*greatest) + 1;
    Ok(Folder {
        dir: dir.to_owned(),
        files,
        labels,
        class_names: Vec::new(),
        classes,
    })
}

/// A file of the table, beside it or in `images`, never outside the folder.
fn locate(dir: &Path, file: &str) -> std::result::Result<PathBuf, String> {
    let inside = Path::new(file)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if file.is_empty() || !inside {
        return Err(format!("file {file:?} is not a path within the folder"));
    }
    [dir.join(file), dir.join("images").join(file)]
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| format!("there is no {file:?}, neither beside the table nor in images/"))
}

/// What a folder has, in the order of names.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(DataError::io(dir))?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()
        .map_err(DataError::io(dir))?;
    paths.sort();
    Ok(paths)
}

fn is_image(path: &Path) -> bool {
    let ending = path
        .extension()
        .and_then(|ending| ending.to_str())
        .map(str::to_ascii_lowercase);
    matches!(ending.as_deref(), Some("jpg" | "jpeg" | "png")) && path.is_file()
}

fn layout(dir: &Path, what: String) -> DataError {
    DataError::Layout {
        folder: dir.to_owned(),
        what,
    }
}
