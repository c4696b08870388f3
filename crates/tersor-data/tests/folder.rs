//! Small folders of images in both layouts, whole and damaged.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail a test")]

mod support;

use image::{GrayImage, Luma, Rgb, RgbImage};
use std::path::Path;
use support::{message, write};
use tersor_data::folder::{self, Color, Folder, Preprocess};

/// A PNG file of one colour.
fn save(dir: &Path, name: &str, [width, height]: [u32; 2], value: u8) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(width, height, Rgb([value, 0, 255]))
        .save(path)
        .unwrap();
}

fn error(dir: &Path, preprocess: &Preprocess) -> String {
    message(&folder::open(dir, preprocess).unwrap_err())
}

#[test]
fn subfolders_are_classes_in_the_order_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), "n02/b.png", [3, 2], 30);
    save(dir.path(), "n02/a.PNG", [3, 2], 20);
    save(dir.path(), "n01/z.png", [3, 2], 10);
    write(dir.path(), "n01/notes.txt", b"no image");
    write(dir.path(), "empty/notes.txt", b"no class");
    let folder = Folder::list(dir.path()).unwrap();
    assert_eq!(folder.class_names(), ["n01", "n02"]);
    let images = folder::open(dir.path(), &Preprocess::keep()).unwrap();
    assert_eq!(
        (images.shape(), images.classes(), images.labels()),
        ([3, 2, 3], 2, &[0, 1, 1][..])
    );
    let red: Vec<u8> = (0..3).map(|i| images.pixels(i)[0]).collect();
    assert_eq!(red, [10, 20, 30]);
    assert_eq!(
        images.pixels(0)[6..],
        [0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255]
    );
    assert_eq!(
        folder.decode(&[2], &Preprocess::keep()).unwrap(),
        images.subset([2])
    );
    assert!(folder.decode(&[], &Preprocess::keep()).unwrap().is_empty());
}

#[test]
fn a_table_names_files_beside_it_or_in_images() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), "a.png", [4, 4], 1);
    save(dir.path(), "images/b.png", [4, 4], 2);
    write(dir.path(), "labels.csv", b"label, file\n7, b.png\n0, a.png\n");
    let images = folder::open(dir.path(), &Preprocess::imagenet(2, 2)).unwrap();
    assert_eq!(
        (images.shape(), images.classes(), images.labels()),
        ([3, 2, 2], 8, &[7, 0][..])
    );
    assert_eq!((images.pixels(0)[0], images.pixels(1)[0]), (2, 1));
}

#[test]
fn grey_images_have_one_channel_if_asked() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("0")).unwrap();
    GrayImage::from_fn(2, 1, |x, _| Luma([x as u8 + 5]))
        .save(dir.path().join("0/a.png"))
        .unwrap();
    let images = folder::open(
        dir.path(),
        &Preprocess {
            color: Color::Grey,
            ..Preprocess::keep()
        },
    )
    .unwrap();
    assert_eq!((images.shape(), images.pixels(0)), ([1, 1, 2], &[5, 6][..]));
}

#[test]
fn folders_without_images_say_what_is_expected() {
    let dir = tempfile::tempdir().unwrap();
    let text = error(dir.path(), &Preprocess::keep());
    assert!(text.contains("no images; expected are a subfolder"), "{text}");
    assert!(error(&dir.path().join("nowhere"), &Preprocess::keep()).contains("nowhere"));
}

#[test]
fn images_of_different_sizes_are_refused_unless_resized() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), "0/a.png", [4, 4], 1);
    save(dir.path(), "0/b.png", [5, 4], 1);
    let text = error(dir.path(), &Preprocess::keep());
    assert!(
        text.contains("b.png") && text.contains("resize or crop all to one size"),
        "{text}"
    );
    assert!(folder::open(dir.path(), &Preprocess::imagenet(3, 3)).is_ok());
    let text = error(
        dir.path(),
        &Preprocess {
            crop: Some([9, 9]),
            ..Preprocess::keep()
        },
    );
    assert!(
        text.contains("a.png") && text.contains("cannot be cropped to 9 x 9"),
        "{text}"
    );
}

#[test]
fn damaged_tables_are_named_with_row_and_value() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), "images/a.png", [1, 1], 1);
    for (table, complaint) in [
        (
            "name,label\na.png,1\n",
            r#"columns are ["name", "label"], expected are file and label"#,
        ),
        (
            "file,label\na.png,1\na.png,-1\n",
            r#"row 2: label "-1" is not a number from 0 to 65535"#,
        ),
        ("file,label\nb.png,1\n", r#"row 1: there is no "b.png""#),
        (
            "file,label\n../images/a.png,1\n",
            r#"row 1: file "../images/a.png" is not a path within the folder"#,
        ),
        ("file,label\n,1\n", r#"row 1: file "" is not"#),
        ("file,label\n", "no rows"),
        ("file,label\na.png\n", "found record with 1 fields"),
        ("", "columns are []"),
    ] {
        write(dir.path(), "labels.csv", table.as_bytes());
        let text = error(dir.path(), &Preprocess::keep());
        assert!(
            text.contains("labels.csv") && text.contains(complaint),
            "{table:?}: {text}"
        );
    }
}

#[test]
fn damaged_images_are_named_and_announced_sizes_are_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), "0/a.png", [64, 64], 1);
    let png = std::fs::read(dir.path().join("0/a.png")).unwrap();
    for n in [0, 1, 20, png.len() / 2] {
        write(dir.path(), "0/a.png", &png[..n]);
        let text = error(dir.path(), &Preprocess::keep());
        assert!(text.contains("a.png"), "{n} bytes: {text}");
    }
    // Width and height are at bytes 16 to 23; the checksum behind them is then wrong as well.
    let mut huge = png;
    huge[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    write(dir.path(), "0/a.png", &huge);
    assert!(error(dir.path(), &Preprocess::keep()).contains("a.png"));
}
