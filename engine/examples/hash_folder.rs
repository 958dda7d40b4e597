//! Takes a file or folder into a store, twice, and prints what each time cost: `hash_folder STORE PATH [reference|copy]`.
//! With `md5 PATH` it prints the MD5 that DVC knows it by.

use std::path::{Path, PathBuf};
use std::time::Instant;

use stepwell_engine::layout::Layout;
use stepwell_engine::objects::{Keep, TakeOptions, dvc_md5, take_in};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match arguments.as_slice() {
        [word, path] if word == Path::new("md5") => println!("{}", dvc_md5(path)?.0),
        [store, path, rest @ ..] => {
            std::fs::create_dir_all(store)?;
            let reference = rest.first().is_none_or(|word| word == Path::new("reference"));
            let options = TakeOptions::keep(if reference { Keep::Reference } else { Keep::Copy });
            for _ in 0..2 {
                let begin = Instant::now();
                let taken = take_in(&Layout::new(store), path, &options)?;
                let secs = begin.elapsed().as_secs_f64();
                println!("{} {} bytes in {secs:.4} s: {:?}", taken.hash, taken.bytes, taken.kept);
            }
        }
        _ => return Err("give a store and a path".into()),
    }
    Ok(())
}
