//! What a field means, by the words that programs and people use for it. Never looks at whose file it is.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A field's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    Time,
    Start,
    End,
    Duration,
    Service,
    Workload,
    Pod,
    Container,
    Namespace,
    Node,
    Job,
    Trace,
    Span,
    Parent,
    Id,
    Operation,
    Status,
    StatusCode,
    Error,
    Message,
    Level,
    Metric,
    Value,
    Statistic,
    Count,
    Delta,
    Sentiment,
    Signature,
    Sha,
    Author,
    Files,
    Diff,
    Version,
    Flag,
    Change,
    From,
    To,
    Key,
    Reason,
    Type,
    Involved,
    First,
    Last,
    Name,
    Phase,
    Caller,
    Callee,
    Threshold,
    Observed,
    Summary,
    Description,
    Fired,
    Rule,
    State,
    Query,
    Desired,
    Ready,
    Pressure,
    Containers,
    Lines,
}

/// Every word of a role, written small and without marks.
const WORDS: &[(Role, &str)] = &[
    (
        Role::Time,
        "timestamp time ts datetime date eventtime occurredat createdat timeunixnano observedtimeunixnano \
         unixtimestamp logtime at when deployedat committedat appliedat changedat asctime timestampms \
         unixtime epoch committeddate authoreddate mergedat timeiso8601 eventtimestamp rolledoutat \
         releasedat updatedat modifiedat recordedat",
    ),
    (
        Role::Start,
        "start starttime startedat starttimeunixnano startus startms startns begin begintime startat \
         starttimestamp starttimemillis startts starttimeus starttimems starttimens starttimeunixms \
         starttimemicros startdate",
    ),
    (
        Role::End,
        "end endtime endedat endtimeunixnano finishedat finish endat endtimestamp stoptime endus endms \
         endns completedat endtimems endtimeus endtimens enddate",
    ),
    (
        Role::Duration,
        "duration durationms durationus durationns durations durationnano durationnanos durationmicros \
         durationmillis elapsed elapsedms elapsedtime latencyms latencyus tookms responsetimems \
         durationsec durationseconds elapsedus elapsedns durationinnanos",
    ),
    (
        Role::Service,
        "service servicename svc component microservice application app appname srv serviceid cmdbid \
         applicationname componentname kubernetesiokcomponent appkubernetesioname labelsapp ddservice \
         containerservice affectedservice entity",
    ),
    (
        Role::Workload,
        "workload workloadname deployment deploymentname kubedeployment statefulset daemonset \
         k8sdeploymentname kubestatefulset functionname lambda k8sstatefulsetname kubeservice",
    ),
    (Role::Pod, "pod podname kubepod k8spodname kubernetespodname kubepodname podid replica"),
    (Role::Container, "container containername kubecontainername k8scontainername"),
    (Role::Namespace, "namespace namespacename kubenamespace k8snamespacename ns project servicenamespace"),
    (Role::Node, "node nodename host hostname k8snodename kubenode machine hostid server hostip vm"),
    (Role::Job, "job instance target module"),
    (Role::Trace, "traceid trace ddtraceid oteltraceid xtraceid mdctraceid tracingid logtraceid"),
    (Role::Span, "spanid span ddspanid otelspanid"),
    (Role::Parent, "parentid parentspanid parent parentspan parentspanidhex"),
    (Role::Id, "id uid uuid number key0"),
    (Role::Operation, "operation operationname spanname endpoint method rpcmethod httproute op route action"),
    (Role::Status, "status statuscode otelstatuscode result outcome success"),
    (Role::StatusCode, "httpstatuscode httpresponsestatuscode responsecode httpstatus grpcstatuscode"),
    (
        Role::Error,
        "error errormessage err exception exceptionmessage statusmessage failure tlserror iserror \
         haserror",
    ),
    (
        Role::Message,
        "message msg log body content line text shortmessage logmessage rawmessage raw fullmessage \
         commitmessage note textpayload",
    ),
    (Role::Level, "level severity severitytext loglevel lvl levelname priority lev"),
    (Role::Metric, "metric metricname kpi kpiname measurement indicator series"),
    (Role::Value, "value val metricvalue y measure"),
    (Role::Statistic, "statistic stat agg aggregation unit units quantile"),
    (Role::Count, "count occurrences hits frequency cnt times occurrence"),
    (Role::Delta, "deltavsbaseline delta deltafrombaseline diffvsbaseline changevsbaseline increase deltacount"),
    (Role::Sentiment, "sentiment polarity mood"),
    (Role::Signature, "signature pattern template logtemplate eventtemplate logpattern cluster"),
    (Role::Sha, "sha commit commitsha commitid revision gitsha githash hash gitcommit rev commithash"),
    (
        Role::Author,
        "author actor user changedby by authorname committer owner deployer deployedby username \
         triggeredby initiator authoremail who",
    ),
    (Role::Files, "fileschanged files changedfiles paths modified filepaths touched"),
    (Role::Diff, "diff patch"),
    (Role::Version, "version tag image release newversion imagetag buildid build toversion newimage artifact"),
    (Role::Flag, "flag flagname flagkey featureflag feature toggle featurename togglename"),
    (Role::Change, "change transition changes changesummary"),
    (
        Role::From,
        "from old oldvalue previous previousvalue before fromversion fromvalue oldversion was \
         previousversion prev oldreplicas fromreplicas",
    ),
    (Role::To, "to new newvalue after tovalue enabled now newstate variation newreplicas toreplicas"),
    (
        Role::Key,
        "key setting parameter configkey config variable property settingname configname configmap envvar \
         field path",
    ),
    (Role::Reason, "reason"),
    (Role::Type, "type eventtype kind changetype category"),
    (Role::Involved, "involvedobject involved regarding object involvedobjectname subjectobject"),
    (Role::First, "firsttime firsttimestamp firstseen firstoccurrence firstseenat"),
    (Role::Last, "lasttime lasttimestamp lastseen lastoccurrence lastseenat"),
    (Role::Name, "name"),
    (Role::Phase, "phase"),
    (
        Role::Caller,
        "caller source src client sourceservice sourceworkload callername fromservice consumer dependent \
         callerservice clientservice sourceapp upstream",
    ),
    (
        Role::Callee,
        "callee destination dst dest destinationservice destinationworkload calleename toservice provider \
         dependency calleeservice serverservice targetservice destinationapp downstream dependson",
    ),
    (Role::Threshold, "threshold bound alertthreshold criticalthreshold"),
    (Role::Observed, "observed observedvalue currentvalue actual actualvalue lastvalue"),
    (Role::Summary, "summary title subject headline eventtitle"),
    (Role::Description, "description detail details newstatereason alarmdescription eventmessage"),
    (
        Role::Fired,
        "firedat startsat triggeredat activeat raisedat alertedat openedat statechangetime incidentstart \
         firingsince fired",
    ),
    (Role::Rule, "alertname monitor rule alert rulename checkname monitorname alarmname alerttitle"),
    (Role::State, "overallstate state alertstate newstatevalue monitorstate"),
    (Role::Query, "query expr expression"),
    (Role::Desired, "desired desiredreplicas replicas wanted replicasdesired desirednumber replicacount"),
    (Role::Ready, "ready readyreplicas available availablereplicas replicasready"),
    (Role::Pressure, "memorypressure diskpressure pidpressure capacitycpu allocatablecpu networkunavailable"),
    (Role::Containers, "containers containerstatuses"),
    (Role::Lines, "logs loglines lines tail"),
];

/// The role of each word.
static KNOWN: LazyLock<HashMap<&'static str, Role>> = LazyLock::new(|| {
    WORDS.iter().flat_map(|(role, words)| words.split_whitespace().map(|word| (word, *role))).collect()
});

/// Letters and digits only, small.
pub(crate) fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

impl Role {
    /// The meaning of a field of this name, if it has one that is known.
    pub(crate) fn of(name: &str) -> Option<Self> {
        if name.len() > 64 {
            return None;
        }
        KNOWN.get(plain(name).as_str()).copied()
    }
}

/// Microseconds in one unit of a field whose name ends in a unit.
pub(crate) fn unit_us(name: &str) -> Option<f64> {
    let lower = name.to_ascii_lowercase();
    let plain = plain(name);
    let ends = |words: &[&str]| words.iter().any(|word| lower.ends_with(word));
    if ends(&["_ns", ".ns", "nano", "nanos", "nanoseconds"]) || plain.ends_with("durationns") {
        Some(1e-3)
    } else if ends(&["_us", ".us", "micros", "microseconds", "_µs"])
        || plain.ends_with("us") && plain.len() > 4 && !plain.ends_with("status")
    {
        Some(1.0)
    } else if ends(&["_ms", ".ms", "millis", "milliseconds", "(ms)"]) || plain.ends_with("ms") && plain.len() > 4 {
        Some(1e3)
    } else if ends(&["_s", "_sec", "_secs", "seconds", "(s)", ".s"]) {
        Some(1e6)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_one_meaning_each() {
        let mut seen = std::collections::BTreeMap::new();
        for (role, words) in WORDS {
            for word in words.split_whitespace() {
                assert_eq!(plain(word), word, "written small");
                assert_eq!(seen.insert(word, role), None, "{word} has two meanings");
            }
        }
    }

    #[test]
    fn marks_and_capitals_do_not_matter() {
        assert_eq!(Role::of("@timestamp"), Some(Role::Time));
        assert_eq!(Role::of("StartTimeUnixNano"), Some(Role::Start));
        assert_eq!(Role::of("k8s.pod.name"), Some(Role::Pod));
        assert_eq!(Role::of("Trace ID"), Some(Role::Trace));
        assert_eq!(Role::of("whatever"), None);
        assert_eq!(Role::of(""), None);
    }

    #[test]
    fn units_by_the_end_of_a_name() {
        assert_eq!(unit_us("duration_ms"), Some(1e3));
        assert_eq!(unit_us("durationNanos"), Some(1e-3));
        assert_eq!(unit_us("startTimeUnixNano"), Some(1e-3));
        assert_eq!(unit_us("duration_us"), Some(1.0));
        assert_eq!(unit_us("LatencyP90(s)"), Some(1e6));
        assert_eq!(unit_us("Duration"), None);
        assert_eq!(unit_us("status"), None);
    }
}
