//! Mounts a folder as a file system that must not be mapped, says `ready`, and serves it until it is unmounted or killed.

use std::error::Error;
use std::path::Path;

use stepwell_tests::fuse::Device;
use stepwell_tests::mirror::Mirror;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, mount, has_locks) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [folder, mount] => (folder.to_owned(), mount.to_owned(), true),
        [folder, mount, "--no-locks"] => (folder.to_owned(), mount.to_owned(), false),
        _ => return Err("mirror-mount FOLDER MOUNT [--no-locks]".into()),
    };
    let (device, mut child) = Device::mount(Path::new(&mount))?;
    let server = std::thread::Builder::new()
        .name("mirror".to_owned())
        .spawn(move || device.serve(&mut Mirror::new(Path::new(&folder), has_locks)))?;
    if !child.wait()?.success() {
        return Err("mount failed".into());
    }
    println!("ready");
    Ok(server.join().map_err(|_| "the file system panicked")??)
}
