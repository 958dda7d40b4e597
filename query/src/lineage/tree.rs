//! A tree for the terminal.
//!
//! Each run and artifact is drawn once; where it comes again, `(see above)` stands for what was drawn below it, and so a
//! cycle ends. `...` marks what goes on beyond the limit on depth.

use std::collections::HashSet;
use std::fmt::Write;

use super::graph::NodeId;
use super::labels::{ShortRunIds, parts, plain};
use super::select::{Lineage, Way};

/// Characters that the tree is drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glyphs {
    /// Lines, and names as they are.
    Unicode,
    /// Nothing but ASCII; other letters of names are written as `\u{e9}`.
    Ascii,
}

impl Glyphs {
    fn branch(self, is_last: bool) -> &'static str {
        match (self, is_last) {
            (Self::Unicode, false) => "├─ ",
            (Self::Unicode, true) => "└─ ",
            (Self::Ascii, false) => "|- ",
            (Self::Ascii, true) => "`- ",
        }
    }

    fn trunk(self, is_last: bool) -> &'static str {
        match (self, is_last) {
            (_, true) => "   ",
            (Self::Unicode, false) => "│  ",
            (Self::Ascii, false) => "|  ",
        }
    }

    fn text(self, text: &str) -> String {
        let text = plain(text);
        match self {
            Self::Unicode => text,
            Self::Ascii => {
                let letter = |c: char| if c.is_ascii() { c.to_string() } else { c.escape_unicode().to_string() };
                text.chars().map(letter).collect()
            }
        }
    }
}

/// Draws a lineage, a line for each node, each ended by a line break.
///
/// From a start, what it came from and what came of it are drawn below it; everything, or a pipeline, is drawn forward from
/// what nothing led to.
pub fn write(lineage: &Lineage<'_>, glyphs: Glyphs) -> String {
    let mut tree =
        Tree { lineage, glyphs, ids: ShortRunIds::new(lineage.graph()), drawn: HashSet::new(), text: String::new() };
    if lineage.starts().is_empty() {
        let is_root = |node: &NodeId| lineage.next(*node, true).is_empty();
        lineage.nodes().filter(is_root).for_each(|root| tree.root(root, Way::Forward));
        // What is left lies on cycles, or behind one.
        for node in lineage.nodes() {
            if !tree.drawn.contains(&(node, false)) {
                tree.root(node, Way::Forward);
            }
        }
    } else {
        lineage.starts().iter().for_each(|start| tree.root(*start, lineage.way()));
    }
    tree.text
}

struct Tree<'l, 'g> {
    lineage: &'l Lineage<'g>,
    glyphs: Glyphs,
    ids: ShortRunIds,
    /// Nodes whose branches were drawn, and whether backward.
    drawn: HashSet<(NodeId, bool)>,
    text: String,
}

/// A line that is still to be drawn.
struct Pending {
    node: NodeId,
    /// What stands before the branch.
    prefix: String,
    is_last: bool,
}

impl Tree<'_, '_> {
    fn root(&mut self, node: NodeId, way: Way) {
        let label = self.label(node);
        let (back, forth) = (self.lineage.next(node, true), self.lineage.next(node, false));
        match way {
            Way::Backward | Way::Forward => {
                let backward = way == Way::Backward;
                let is_drawn = self.drawn.contains(&(node, backward));
                self.line("", &label, is_drawn, self.lineage.is_cut(node));
                if !is_drawn {
                    self.below(node, backward, "");
                }
            }
            Way::Both => {
                self.line("", &label, false, self.lineage.is_cut(node));
                for (backward, title) in [(true, "came from"), (false, "led to")] {
                    if (if backward { &back } else { &forth }).is_empty() {
                        self.drawn.insert((node, backward));
                        continue;
                    }
                    let is_last = !backward || forth.is_empty();
                    let is_drawn = self.drawn.contains(&(node, backward));
                    self.line(self.glyphs.branch(is_last), title, is_drawn, false);
                    if !is_drawn {
                        self.below(node, backward, self.glyphs.trunk(is_last));
                    }
                }
            }
        }
    }

    /// Draws what is below a node. Without recursion: a chain of thousands of runs is no reason to run out of stack.
    fn below(&mut self, node: NodeId, backward: bool, prefix: &str) {
        self.drawn.insert((node, backward));
        let mut pending = self.children(node, backward, prefix);
        while let Some(Pending { node, prefix, is_last }) = pending.pop() {
            let is_new = self.drawn.insert((node, backward));
            let label = self.label(node);
            let branch = format!("{prefix}{}", self.glyphs.branch(is_last));
            self.line(&branch, &label, !is_new, is_new && self.lineage.is_cut(node));
            if is_new {
                pending.extend(self.children(node, backward, &format!("{prefix}{}", self.glyphs.trunk(is_last))));
            }
        }
    }

    /// The last comes first, as a stack wants it.
    fn children(&self, node: NodeId, backward: bool, prefix: &str) -> Vec<Pending> {
        let mut children: Vec<Pending> = Vec::new();
        for node in self.lineage.next(node, backward).into_iter().rev() {
            children.push(Pending { node, prefix: prefix.to_owned(), is_last: children.is_empty() });
        }
        children
    }

    fn label(&self, node: NodeId) -> String {
        let (name, what) = parts(self.lineage.graph().node(node), &self.ids);
        self.glyphs.text(&format!("{name}  ({what})"))
    }

    fn line(&mut self, branch: &str, label: &str, is_drawn: bool, is_cut: bool) {
        let repeat = if is_drawn { "  (see above)" } else { "" };
        let more = if is_cut { "  ..." } else { "" };
        // Writing into memory cannot fail.
        let _ = writeln!(self.text, "{branch}{label}{repeat}{more}");
    }
}
