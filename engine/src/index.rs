//! The catalog of an open store. It is an index of the event logs: a damaged one keeps nobody from logging or reading.
//!
//! Whoever opens the store for logging keeps a copy of a damaged catalog in `quarantine/` and builds it anew; whoever only
//! reads indexes in memory. Both say so once on stderr. One of an older version is built anew likewise, without a copy. A database of another application is refused: it is not ours to
//! replace.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::catalog::{Catalog, is_foreign, is_older};
use crate::doctor;
use crate::error::{Error, Result, with_causes};
use crate::layout::Layout;
use crate::store::Access;

/// Opens the catalog and brings it up to date.
pub(crate) fn open(layout: &Layout, access: Access) -> Result<Catalog> {
    let opened = if access == Access::Read { Catalog::open_read_only(layout) } else { Catalog::open(layout) };
    let refreshed = opened.and_then(|mut catalog| catalog.refresh(layout).map(|_| catalog));
    match refreshed {
        Err(error) if is_damaged(layout, &error) => open_anew(layout, access, &error),
        other => other,
    }
}

/// Works with an open catalog; when it turns out to be damaged, again with a new one.
pub(crate) fn with<T>(
    catalog: &mut Catalog,
    layout: &Layout,
    access: Access,
    mut work: impl FnMut(&mut Catalog) -> Result<T>,
) -> Result<T> {
    match work(catalog) {
        Err(error) if is_damaged(layout, &error) => {
            *catalog = open_anew(layout, access, &error)?;
            work(catalog)
        }
        other => other,
    }
}

/// Whether an error says that the catalog file is damaged, and the file is one of Stepwell's.
pub(crate) fn is_damaged(layout: &Layout, error: &Error) -> bool {
    let path = layout.catalog();
    matches!(error, Error::Damaged { path: at, .. } if *at == path) && !is_foreign(&path)
}

/// A catalog in the place of a damaged one: in the file, or in memory for whoever may not write.
pub(crate) fn open_anew(layout: &Layout, access: Access, error: &Error) -> Result<Catalog> {
    if access == Access::Read {
        let what = if is_older(error) {
            format!("{:?} is of an older version; `stepwell reindex` builds it anew", layout.catalog())
        } else {
            with_causes(error)
        };
        warn(layout, &format!("{what}; until then, the event logs are read instead"));
        let mut catalog = Catalog::open_in_memory()?;
        catalog.refresh(layout)?;
        return Ok(catalog);
    }
    let path = layout.catalog();
    if is_older(error) {
        Catalog::rebuild(layout)?;
        warn(layout, &format!("{path:?} was of an older version, and was built anew from the event logs"));
    } else {
        doctor::keep_catalog(layout)?;
        Catalog::rebuild(layout)?;
        warn(
            layout,
            &format!("{path:?} was damaged; it was built anew from the event logs, and a copy is in `quarantine/`"),
        );
    }
    let mut catalog = Catalog::open(layout)?;
    catalog.refresh(layout)?;
    Ok(catalog)
}

/// Says something on stderr, once per store.
fn warn(layout: &Layout, text: &str) {
    static TOLD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(layout.root().to_owned()) {
        // `eprintln!` would panic when stderr is a file on the very disk that is full.
        let _ = writeln!(std::io::stderr(), "stepwell: {text}");
    }
}
