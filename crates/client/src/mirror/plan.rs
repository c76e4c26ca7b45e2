//! From two trees to the steps that make the target like the source.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use pasarela_dtp::Pace;
use pasarela_store as store;
use store::{Kind, VirtualPath};
use tokio_util::sync::CancellationToken;

use super::compare::{Clocks, Verdict};
use super::steps::{Note, NoteKind, Plan, Step, print};
use super::tree::{self, Node, Tree};
use super::{Error, Settings, names};
use crate::digest::{Algorithm, Digest};
use crate::parallel::at_most;
use crate::remote::{Place, paced_digest_of};
use crate::transfer::{End, again};

/// Lists both trees at once and compares them. Changes nothing.
///
/// # Errors
/// [`Error`] when a root cannot be listed, or is no folder.
pub async fn plan(
    from: &Place,
    to: &Place,
    settings: &Settings,
    stop: &CancellationToken,
) -> Result<Plan, Error> {
    let (source, target) = tokio::try_join!(
        tree::list(from, End::Source, settings, stop),
        tree::list(to, End::Target, settings, stop),
    )?;
    for (end, root) in [(End::Source, source.root), (End::Target, target.root)] {
        if root.is_some_and(|kind| kind != Kind::Directory) {
            let error = store::ErrorKind::NotADirectory.into();
            return Err(Error::Place { end, error });
        }
    }
    let (source_print, target_print) = (print(&source.nodes), print(&target.nodes));
    let (from_can, to_can) = (from.remote.abilities(), to.remote.abilities());
    let mut drawing = Drawing {
        settings,
        clocks: Clocks::of(&from_can, &to_can),
        has_exact_source: from_can.exact_listings,
        can_set_times: to_can.set_times && from_can.exact_times && settings.transfer.keep_times,
        ..Drawing::new(settings, &source, &target)
    };
    if to_can.folds_names {
        drawing.refuse_collisions();
    }
    drawing.compare_all();
    drawing.compare_contents(from, to, stop).await?;
    if settings.delete {
        drawing.delete_the_rest();
    }
    Ok(Plan {
        made: SystemTime::now(),
        source: String::new(),
        target: String::new(),
        source_print,
        target_print,
        filter: settings.filter.clone(),
        links: settings.links,
        notes: drawing.all_notes(),
        steps: drawing.in_order(),
    })
}

/// A plan that is being made.
struct Drawing<'a> {
    settings: &'a Settings,
    source: &'a Tree,
    target: &'a Tree,
    clocks: Clocks,
    can_set_times: bool,
    has_exact_source: bool,
    /// Source paths that nothing is done with, nor with what lies beneath.
    refused: BTreeSet<VirtualPath>,
    make_dirs: BTreeSet<VirtualPath>,
    copies: BTreeMap<VirtualPath, (u64, bool)>,
    set_times: BTreeMap<VirtualPath, SystemTime>,
    /// What stands in the way of another kind, removed first.
    in_the_way: BTreeSet<VirtualPath>,
    /// What the source does not have, removed last.
    surplus: BTreeSet<VirtualPath>,
    /// Files whose content has to be compared.
    unknown: Vec<VirtualPath>,
    notes: Vec<Note>,
}

impl<'a> Drawing<'a> {
    fn new(settings: &'a Settings, source: &'a Tree, target: &'a Tree) -> Self {
        Self {
            settings,
            source,
            target,
            clocks: Clocks::of(&crate::Abilities::default(), &crate::Abilities::default()),
            can_set_times: false,
            has_exact_source: false,
            refused: BTreeSet::new(),
            make_dirs: BTreeSet::new(),
            copies: BTreeMap::new(),
            set_times: BTreeMap::new(),
            in_the_way: BTreeSet::new(),
            surplus: BTreeSet::new(),
            unknown: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn note(&mut self, kind: NoteKind, path: &VirtualPath, text: impl Into<String>) {
        let (path, text) = (path.clone(), text.into());
        self.notes.push(Note { kind, path, text });
    }

    fn is_refused(&self, path: &VirtualPath) -> bool {
        !self.refused.is_empty() && ancestors(path).any(|above| self.refused.contains(&above))
    }

    /// Where the target takes two of the source's names for one, the second in order is refused.
    fn refuse_collisions(&mut self) {
        let mut first = BTreeMap::new();
        for path in self.source.nodes.keys() {
            let folded = names::folded(&path.to_bytes()).into_owned();
            if let Some(other) = first.insert(folded, path) {
                let text = format!(
                    "at the target it is the same name as {}",
                    other.to_bytes().escape_ascii()
                );
                self.note(NoteKind::Failed, path, text);
                self.refused.insert(path.clone());
            }
        }
    }

    fn compare_all(&mut self) {
        if self.target.root.is_none() {
            self.make_dirs.insert(VirtualPath::root());
        }
        for (path, source) in &self.source.nodes {
            if self.is_refused(path) {
                continue;
            }
            match source.kind {
                Kind::Directory => self.compare_dir(path),
                Kind::File => self.compare_file(path, source),
                Kind::Link | Kind::Other => {}
            }
        }
        if self.settings.filter.is_choosy() {
            let copies = &self.copies;
            // A folder is made for what it holds.
            self.make_dirs.retain(|dir| {
                dir.is_root()
                    || copies
                        .range(dir.clone()..)
                        .next()
                        .is_some_and(|(path, _)| path.is_within(dir))
            });
        }
    }

    fn compare_dir(&mut self, path: &VirtualPath) {
        match self.target.nodes.get(path).map(|node| node.kind) {
            Some(Kind::Directory) => return,
            Some(_) => {
                self.in_the_way.insert(path.clone());
            }
            None => {}
        }
        self.make_dirs.insert(path.clone());
    }

    fn compare_file(&mut self, path: &VirtualPath, source: &Node) {
        let copy = (source.size, true);
        match self.target.nodes.get(path) {
            None => {
                self.copies.insert(path.clone(), (source.size, false));
            }
            Some(target) if target.kind == Kind::File => {
                if self.settings.update && self.clocks.later(target.modified, source.modified) {
                    return;
                }
                match self.clocks.judge(self.settings.compare, source, target) {
                    Verdict::Same => {}
                    Verdict::Differs => {
                        self.copies.insert(path.clone(), copy);
                    }
                    Verdict::Unknown => self.unknown.push(path.clone()),
                }
            }
            Some(target) if target.kind == Kind::Directory => {
                if !self.settings.delete {
                    let text =
                        "a folder stands in its place at the target; only with deletion it is replaced";
                    self.note(NoteKind::Failed, path, text);
                    self.refused.insert(path.clone());
                    return;
                }
                let beneath = self.target.nodes.range(path.clone()..);
                let beneath = beneath
                    .map(|(there, _)| there)
                    .take_while(|there| there.is_within(path));
                self.in_the_way.extend(beneath.cloned());
                self.copies.insert(path.clone(), (source.size, false));
            }
            // A link: writing to its name would write to where it leads.
            Some(_) => {
                self.in_the_way.insert(path.clone());
                self.copies.insert(path.clone(), (source.size, false));
            }
        }
    }

    /// Looks at the contents of all files that nothing else could decide.
    async fn compare_contents(
        &mut self,
        from: &Place,
        to: &Place,
        stop: &CancellationToken,
    ) -> Result<(), Error> {
        let unknown = std::mem::take(&mut self.unknown);
        let (from_can, to_can) = (from.remote.abilities(), to.remote.abilities());
        let both = |algorithm: &Algorithm| {
            from_can.digests.contains(algorithm) && to_can.digests.contains(algorithm)
        };
        let algorithm = Algorithm::ALL.into_iter().find(both).unwrap_or(Algorithm::Sha256);
        let retries = self.settings.transfer.retries;
        let limit = self.settings.jobs.min(from_can.parallel).min(to_can.parallel);
        let mut failed = Vec::new();
        let work = |path: VirtualPath| {
            let (from, to, stop) = (from.clone(), to.clone(), stop.clone());
            let pace = self.settings.transfer.pace.clone();
            async move {
                let compared = async {
                    let source = again(retries, || async {
                        content(&from, &path, algorithm, &pace).await
                    });
                    let target = again(retries, || async { content(&to, &path, algorithm, &pace).await });
                    let (source, target) = tokio::join!(source, target);
                    let of = |end| move |error| Error::Place { end, error };
                    Ok(source.map_err(of(End::Source))? == target.map_err(of(End::Target))?)
                };
                let is_same = tokio::select! {
                    biased;
                    () = stop.cancelled() => Err(Error::Stopped),
                    compared = compared => compared,
                };
                (path, is_same)
            }
        };
        at_most(limit, unknown, work, |(path, is_same)| {
            match is_same {
                Ok(true) => self.same_content(path),
                Ok(false) => {
                    let size = self.source.nodes.get(&path).map_or(0, |node| node.size);
                    self.copies.insert(path, (size, true));
                }
                Err(Error::Stopped) => return false,
                Err(error) => failed.push((path, error)),
            }
            true
        })
        .await;
        if stop.is_cancelled() {
            return Err(Error::Stopped);
        }
        for (path, error) in failed {
            self.note(NoteKind::Failed, &path, format!("it cannot be compared: {error}"));
        }
        Ok(())
    }

    fn same_content(&mut self, path: VirtualPath) {
        if let (Some(source), Some(target)) = (self.source.nodes.get(&path), self.target.nodes.get(&path))
            && self.can_set_times
            && !self.clocks.same(source.modified, target.modified)
        {
            self.set_times.insert(path, source.modified);
        }
    }

    /// Plans to remove what the source does not have.
    fn delete_the_rest(&mut self) {
        if !self.source.is_complete {
            let text = "nothing is removed, because not all of the source could be listed";
            return self.note(NoteKind::LeftOut, &VirtualPath::root(), text);
        }
        for path in self.target.nodes.keys() {
            let is_spared = ancestors(path).any(|above| {
                let kind = self.source.nodes.get(&above).map(|node| node.kind);
                above == *path && kind.is_some() || matches!(kind, Some(Kind::Link | Kind::Other))
            });
            if !is_spared && !self.in_the_way.contains(path) {
                self.surplus.insert(path.clone());
            }
        }
    }

    fn all_notes(&mut self) -> Vec<Note> {
        let mut notes = self.source.notes.clone();
        // What the target holds and nobody asked for is no failure.
        notes.extend(self.target.notes.iter().map(|note| Note {
            kind: NoteKind::LeftOut,
            ..note.clone()
        }));
        notes.append(&mut self.notes);
        notes
    }

    /// What stands in the way, folders, files, times, and then what is too much; folders after what they hold.
    fn in_order(self) -> Vec<Step> {
        let remove = |paths: BTreeSet<VirtualPath>| {
            let is_dir = |path: &VirtualPath| {
                let node = self.target.nodes.get(path);
                node.is_some_and(|node| node.kind == Kind::Directory)
            };
            let (dirs, files): (Vec<_>, Vec<_>) = paths.into_iter().partition(is_dir);
            let files = files.into_iter().map(|path| Step::DeleteFile { path });
            files.chain(dirs.into_iter().rev().map(|path| Step::RemoveDir { path }))
        };
        let copies = self.copies.into_iter();
        remove(self.in_the_way)
            .chain(self.make_dirs.into_iter().map(|path| Step::MakeDir { path }))
            .chain(copies.map(|(path, (size, replaces))| {
                let told = self.source.nodes.get(&path).map(|node| node.modified);
                Step::Copy {
                    modified: told.filter(|time| self.has_exact_source && *time > SystemTime::UNIX_EPOCH),
                    path,
                    size,
                    replaces,
                }
            }))
            .chain(
                self.set_times
                    .into_iter()
                    .map(|(path, to)| Step::SetTime { path, to }),
            )
            .chain(remove(self.surplus))
            .collect()
    }
}

/// A path and all that hold it, itself first.
fn ancestors(path: &VirtualPath) -> impl Iterator<Item = VirtualPath> {
    std::iter::successors(Some(path.clone()), VirtualPath::parent)
}

async fn content(
    tree: &Place,
    path: &VirtualPath,
    algorithm: Algorithm,
    pace: &Pace,
) -> store::Result<Digest> {
    let place = tree.join(path).map_err(|_| store::ErrorKind::BadName)?;
    paced_digest_of(&place, algorithm, pace).await
}
