//! What a check has found.

/// How bad it is. Ordered: the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// As it should be, or worth knowing and no more.
    Ok,
    /// It costs something, now or after a failover, that may not be meant.
    Warning,
    /// It does not work, or a failover would not.
    Failure,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The node; `None`: it is about the cluster, or about pgherd itself.
    pub node: Option<String>,
    /// What was looked at: a parameter's name, or a word of our own.
    pub check: &'static str,
    /// What was found.
    pub value: String,
    /// How bad that is.
    pub verdict: Verdict,
    /// Why it matters.
    pub why: String,
    /// What mends it, ready to be pasted: a statement, a line of a file, a command. Empty: nothing needs mending, or it
    /// takes a person to know how.
    pub fix: String,
}

/// Findings in the making.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

/// Findings about one node, or about the cluster.
pub(crate) struct About<'a> {
    findings: &'a mut Vec<Finding>,
    node: Option<&'a str>,
}

impl Findings {
    /// About a node.
    pub(crate) fn about<'a>(&'a mut self, node: &'a str) -> About<'a> {
        About { findings: &mut self.0, node: Some(node) }
    }

    /// About the cluster, or about pgherd itself.
    pub(crate) fn about_all(&mut self) -> About<'_> {
        About { findings: &mut self.0, node: None }
    }

    /// All of them, the worst first; what is equally bad stays in the order in which it was found.
    pub(crate) fn into_sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        self.0
    }
}

impl About<'_> {
    /// Everything is as it should be.
    pub(crate) fn ok(&mut self, check: &'static str, value: impl Into<String>) {
        self.push(check, value, Verdict::Ok, "", "");
    }

    /// It may not be meant.
    pub(crate) fn warning(
        &mut self,
        check: &'static str,
        value: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.push(check, value, Verdict::Warning, why, fix);
    }

    /// It does not work.
    pub(crate) fn failure(
        &mut self,
        check: &'static str,
        value: impl Into<String>,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.push(check, value, Verdict::Failure, why, fix);
    }

    pub(crate) fn push(
        &mut self,
        check: &'static str,
        value: impl Into<String>,
        verdict: Verdict,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.findings.push(Finding {
            node: self.node.map(str::to_owned),
            check,
            value: value.into(),
            verdict,
            why: why.into(),
            fix: fix.into(),
        });
    }
}
