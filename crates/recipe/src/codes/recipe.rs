//! Codes of recipes, TL02.

use super::{Code, codes};

codes! {
    SYNTAX = "TL0201" {
        title: "the file is not TOML",
        means: "The text breaks the rules of TOML: a quote or bracket is missing, a key stands \
            twice, \
         or a value has no form.",
        why: "Nothing of the file can be trusted while it cannot be read, so nothing else is \
         checked.",
        wrong: "name = \"housing-lid",
        right: "name = \"housing-lid\"",
    }
    UNKNOWN_KEY = "TL0202" {
        title: "a key that this table does not have",
        means: "The key is misspelt, or stands in the wrong table.",
        why: "A misspelt limit would silently not hold. Unknown keys are therefore errors, not \
         ignored.",
        wrong: "trimm = \"60 bar\"",
        right: "trim = \"60 bar\"",
    }
    UNKNOWN_TAG = "TL0203" {
        title: "a tag that is not declared",
        means: "Something reads a tag for which there is no [tag.NAME] table.",
        why: "Checks on range, rate and age are set where the tag is declared; an undeclared tag \
         would have none.",
        wrong: "tag = \"melt_tmp\"",
        right: "tag = \"melt_temp\"",
    }
    WRONG_TYPE = "TL0204" {
        title: "a value of the wrong kind",
        means: "The key takes another kind of value: a text where a table stands, a table where a \
         number stands.",
        why: "The value cannot be understood, so nothing else is checked.",
        wrong: "revision = \"one\"",
        right: "revision = 1",
    }
    MISSING_KEY = "TL0205" {
        title: "a key that must be there is missing",
        means: "The table needs this key; there is no safe default for it.",
        why: "Limits and addresses are never guessed.",
        wrong: "[setpoint.hold_pressure] without `high`",
        right: "high = \"430 bar\"",
    }
    MISSING_UNIT = "TL0206" {
        title: "a number without its unit",
        means: "The key takes a quantity, and a quantity carries its unit.",
        why: "290 is a hold pressure in bar and a harmless one in mbar. The unit beside the number \
         is what a reviewer checks.",
        wrong: "low = 290",
        right: "low = \"290 bar\"",
    }
    BAD_QUANTITY = "TL0207" {
        title: "a quantity that cannot be read",
        means: "The text is not a decimal number followed by a unit, or has more digits than can \
            be \
         held exactly.",
        why: "Limits are read as exact decimals; what cannot be exact is refused.",
        wrong: "low = \"about 290 bar\"",
        right: "low = \"290 bar\"",
    }
    UNIT_MISMATCH = "TL0208" {
        title: "a unit that does not fit",
        means: "The unit measures something else than the tag, or two things that must share a \
            unit do \
         not.",
        why: "A conversion is made only between units of one kind; guessing another would move a \
         limit.",
        wrong: "low = \"290 degC\"",
        right: "low = \"290 bar\"",
    }
    UNKNOWN_NAME = "TL0209" {
        title: "a name that is not declared",
        means: "A feature, model, chart, signature, label, setpoint or interlock is named that no \
         table declares.",
        why: "A rule about something that does not exist never fires, or never holds.",
        wrong: "on = \"snik\"",
        right: "on = \"sink\"",
    }
    RANGE_REVERSED = "TL0210" {
        title: "an empty range",
        means: "The lower value is not below the upper one.",
        why: "Nothing lies inside an empty range: every value would be Bad, or no write possible.",
        wrong: "range = [\"260 degC\", \"180 degC\"]",
        right: "range = [\"180 degC\", \"260 degC\"]",
    }
    BASELINE_OUTSIDE = "TL0211" {
        title: "baseline outside the limits",
        means: "The recipe's own setpoint lies outside `low` and `high`.",
        why: "The machine would start where trimloop may not write, and no return to the baseline \
         would be possible.",
        wrong: "baseline = \"450 bar\" with high = \"430 bar\"",
        right: "baseline = \"360 bar\"",
    }
    OFF_GRID = "TL0212" {
        title: "not a whole multiple of the grid",
        means: "Limits, steps and moves are held as whole steps of `grid`, counted from zero.",
        why: "A limit between two steps would have to be rounded, and rounding can pass it.",
        wrong: "high = \"430.2 bar\" with grid = \"0.5 bar\"",
        right: "high = \"430 bar\"",
    }
    BAD_GRID = "TL0213" {
        title: "a grid that cannot be used",
        means: "The grid is no decimal of at most nine places in the tag's unit, or so fine that \
         limits become too many steps.",
        why: "Every limit counts in whole steps; the step itself must be exact.",
        wrong: "grid = \"0.0000000001 bar\"",
        right: "grid = \"0.5 bar\"",
    }
    STEP_OVER_BAND = "TL0214" {
        title: "step limit too wide for the band",
        means: "One write may move more than 20 % of the distance between `low` and `high`.",
        why: "One wrong decision must leave room for the next to be seen and undone.",
        wrong: "step = \"90 bar\" with 290 to 430 bar",
        right: "step = \"5 bar\"",
    }
    NOT_POSITIVE = "TL0215" {
        title: "must be above zero",
        means: "A step, grid, time, tolerance or deviation is zero or negative.",
        why: "A step of zero never moves; a tolerance of zero is never met; a grid of zero counts \
         nothing.",
        wrong: "step = \"0 bar\"",
        right: "step = \"5 bar\"",
    }
    MOVE_OVER_STEP = "TL0216" {
        title: "a rule asks for more than the step limit",
        means: "A move of a rule is larger than the setpoint's `step` in that direction.",
        why: "The guard cuts every such move, so the rule never does what it says.",
        wrong: "move = \"-12 bar\" with step = \"5 bar\"",
        right: "move = \"-5 bar\"",
    }
    TRIM_OUTSIDE = "TL0217" {
        title: "trim reaches past both limits",
        means: "From the baseline, `trim` reaches farther than either limit, so it limits nothing.",
        why: "The trim bound is a second, independent one; a bound that never acts only looks like \
         one.",
        wrong: "trim = \"200 bar\" around 360 with 290 to 430",
        right: "trim = \"60 bar\"",
    }
    CLEAR_SIDE = "TL0218" {
        title: "hysteresis missing or reversed",
        means: "A clause needs `clear` on the near side of its limit: below an upper one, above a \
         lower one.",
        why: "Without a gap, noise at the limit switches the signature on and off with every part.",
        wrong: "above = \"640 bar\", clear = \"650 bar\"",
        right: "above = \"640 bar\", clear = \"625 bar\"",
    }
    N_OF_M = "TL0219" {
        title: "more parts needed than looked at",
        means: "`need` is larger than `of`.",
        why: "Such a signature is never on.",
        wrong: "need = 6, of = 5",
        right: "need = 3, of = 5",
    }
    NOT_A_SHARE = "TL0220" {
        title: "not a share between 0 and 1",
        means: "Coverage, lambda, filter and decay are shares: 0.3 or \"30 %\".",
        why: "A weight above 1 overshoots with every part.",
        wrong: "lambda = 3",
        right: "lambda = 0.3",
    }
    COUNT_OUT_OF_RANGE = "TL0221" {
        title: "a count out of range",
        means: "A whole number is below its least or above its greatest value, such as a lag \
            over 64 \
         parts.",
        why: "Everything in trimloop is bounded, so that memory and time are known before it runs.",
        wrong: "lag = 900",
        right: "lag = 2",
    }
    LOOP_CONTROLLER = "TL0222" {
        title: "a loop needs exactly one controller",
        means: "The loop has both `run_to_run` and `rules`, or neither.",
        why: "Two controllers on one setpoint fight; none does nothing.",
        wrong: "[loop.weight] with only `setpoint`",
        right: "rules = { moves = [ … ] }",
    }
    SETPOINT_SHARED = "TL0223" {
        title: "one setpoint in two loops",
        means: "Two loops move the same setpoint.",
        why: "Each would take the other's moves for an operator's and stand back, or undo them.",
        wrong: "[loop.a] and [loop.b] with setpoint = \"hold_pressure\"",
        right: "one loop with both signatures in its `moves`",
    }
    GAIN_UNCERTAIN = "TL0224" {
        title: "gain not told from zero",
        means: "The gain is less than three times its standard error.",
        why: "Its sign is not certain, and a loop with the wrong sign drives the process to its \
         limit. Simulated, that made 81 to 96 % scrap.",
        wrong: "gain = \"0.0002 g / 1 bar\", gain_error = \"0.0001 g / 1 bar\"",
        right: "gain = \"0.00175 g / 1 bar\", gain_error = \"0.0001 g / 1 bar\"",
    }
    GAIN_ERROR_MISSING = "TL0225" {
        title: "gain without its standard error",
        means: "A gain comes from a bump test, and a bump test gives an error.",
        why: "The loop uses |gain| + 2 errors, so that it is slow rather than unstable when the \
            true \
         gain is at either end.",
        wrong: "gain = \"0.00175 g / 1 bar\"",
        right: "gain_error = \"0.0001 g / 1 bar\" beside it",
    }
    TARGET_OUTSIDE = "TL0226" {
        title: "target outside the label's range",
        means: "Labels outside their range are refused as wrong measurements.",
        why: "Every good part would count as one.",
        wrong: "target = \"25 g\" with range = [\"17 g\", \"22 g\"]",
        right: "target = \"19.42 g\"",
    }
    DEADBAND_OVER_STEP = "TL0227" {
        title: "deadband larger than the step limit",
        means: "Every move is cut to the step limit and is then below the deadband.",
        why: "Nothing is ever written.",
        wrong: "deadband = \"8 bar\" with step = \"5 bar\"",
        right: "deadband = \"1 bar\"",
    }
    DWELL_SHORT = "TL0228" {
        title: "dwell shorter than confirm",
        means: "The next write may be wanted before the last one is read back.",
        why: "The process needs dead time plus four time constants to show what a move did; judged \
         earlier, it is corrected twice.",
        wrong: "dwell = \"1 s\" with confirm = \"3 s\"",
        right: "dwell = \"20 s\"",
    }
    TAG_MEANING = "TL0229" {
        title: "a tag taken for what it is not",
        means: "An id or state is read from a measured tag, or a measured tag is compared with a \
            whole \
         number.",
        why: "A measured value hardly ever equals a number, so the condition would never hold.",
        wrong: "running = { tag = \"melt_temp\", equals = 230 }",
        right: "running = { tag = \"machine_state\", equals = 6 }",
    }
    CYCLE_CUT = "TL0230" {
        title: "no clear end of a part",
        means: "Exactly one of `finished`, `started`, `every` says where a part ends.",
        why: "Values, setpoints and labels are joined by part; with no cut, or two, they are \
            joined \
         wrongly.",
        wrong: "finished = \"part_id\", every = \"1 s\"",
        right: "finished = \"part_id\"",
    }
    WINDOW_MEANING = "TL0231" {
        title: "a feature that means nothing",
        means: "A window is set where one value is taken, or the part id is measured as if it \
            were a \
         quantity.",
        why: "The number would exist, and a model would learn from it.",
        wrong: "take = \"last\", window = \"30 s\"",
        right: "take = \"mean\", window = \"30 s\"",
    }
    CHART_KIND = "TL0232" {
        title: "a chart needs exactly one statistic",
        means: "The chart has more than one of `ewma`, `cusum` and `rules`, or none.",
        why: "Each has its own limits and false alarm rate.",
        wrong: "[chart.cushion] without a statistic",
        right: "ewma = { lambda = 0.1, width = 2.814 }",
    }
    RATE_SHAPE = "TL0233" {
        title: "a rate without its time, or a time where none belongs",
        means: "A rate is a quantity per another: how much, per what.",
        why: "\"20 bar\" alone does not say whether per second or per shift.",
        wrong: "rate = \"20 bar\"",
        right: "rate = \"20 bar / 60 s\"",
    }
    AR_OUT_OF_RANGE = "TL0234" {
        title: "ar must lie between -1 and 1",
        means: "`ar` says how much of one part's deviation shows in the next.",
        why: "At 1 and beyond the feature drifts without bound, and limits of a chart mean \
            nothing.",
        wrong: "ar = 1.2",
        right: "ar = 0.5",
    }
    CLAUSE_SHAPE = "TL0235" {
        title: "a condition that is not one comparison",
        means: "A clause watches exactly one thing, against exactly one limit.",
        why: "Two limits in one clause leave open which of them counts.",
        wrong: "{ feature = \"cushion\", above = \"6 mm\", below = \"5 mm\" }",
        right: "any = [ { …, above = … }, { …, below = … } ]",
    }
    INTERLOCK_RANGE = "TL0236" {
        title: "interlock on a tag without a range",
        means: "The interlock trusts any value of the tag.",
        why: "A broken sensor reads far below or above, and would close the interlock just when it \
         must be open.",
        wrong: "below = \"60 degC\" on a tag without `range`",
        right: "range = [\"0 degC\", \"150 degC\"] in the tag",
    }
    BAD_ROW = "TL0237" {
        title: "a joint limit that cannot be held",
        means: "The weights have no whole numbers in proportion, the row is empty, or the \
            baselines \
         already break it.",
        why: "Rows are checked in whole steps, before, between and after the writes of a move.",
        wrong: "hold_pressure = \"3.14159265 kN / 1 bar\"",
        right: "hold_pressure = \"3.14 kN / 1 bar\"",
    }
    TOO_MANY = "TL0238" {
        title: "too many, or too large",
        means: "There are more entries, or more bytes, than trimloop holds.",
        why: "Everything is bounded, so that memory and time are known before it runs.",
        wrong: "5000 tags in one recipe",
        right: "two recipes, each for its own cell",
    }
    FILE_NAME = "TL0239" {
        title: "file and name differ",
        means: "A recipe or PLC config has the name of its file.",
        why: "People look for a recipe by its file; two names for one thing get mixed up.",
        wrong: "name = \"lid\" in housing-lid.toml",
        right: "name = \"housing-lid\"",
    }
    TIME_OUT_OF_RANGE = "TL0240" {
        title: "a time out of range",
        means: "The time is shorter or longer than the machine or trimloop can make use of.",
        why: "A scan period of an hour would never see the heartbeat.",
        wrong: "period = \"1 h\"",
        right: "period = \"100 ms\"",
    }
    PLC_UNKNOWN = "TL0241" {
        title: "the PLC config is missing",
        means: "The recipe, or a tag of it, names a PLC config that is not in plc-configs/.",
        why: "Without it no tag has an address.",
        wrong: "plc = \"press-5\"",
        right: "plc = \"press-4\", with plc-configs/press-4.toml",
    }
    UNUSED_TAG = "TL0242" {
        title: "a tag that nothing uses",
        means: "The tag is read from the PLC, and no feature, label, interlock, binding, \
            setpoint or \
         loop uses it.",
        why: "It is often the sign of a misspelt or forgotten rule.",
        wrong: "[tag.ambient]",
        right: "watch = true",
    }
    UNUSED_FEATURE = "TL0243" {
        title: "a feature that nothing uses",
        means: "The feature is computed for each part, and no chart, signature or model uses it.",
        why: "It is often the sign of a forgotten rule.",
        wrong: "[feature.cushion]",
        right: "[chart.cushion] with feature = \"cushion\"",
    }
    NAME_TWICE = "TL0244" {
        title: "one name for two things",
        means: "A chart and a model share a name.",
        why: "In a clause or on a page nobody could tell which is meant.",
        wrong: "[chart.upstream] and [model.upstream]",
        right: "[chart.upstream_mean]",
    }
    TAG_WRITTEN_TWICE = "TL0245" {
        title: "two setpoints write one tag",
        means: "Both setpoints name the same tag.",
        why: "Each would hold its own limits against the other's moves.",
        wrong: "tag = \"hold_pressure_sp\" twice",
        right: "one setpoint per tag",
    }
    MODEL_KIND = "TL0246" {
        title: "a model taken for what it is not",
        means: "A chart is taken for a monitor, or a soft sensor does not say what it predicts.",
        why: "T2 and SPE exist for monitors only, a prediction for soft sensors only.",
        wrong: "t2 = \"cushion\" where cushion is a chart",
        right: "chart = \"cushion\"",
    }
    MOVE_ZERO = "TL0247" {
        title: "a move that moves nothing",
        means: "The move of a rule is zero.",
        why: "The rule holds its place before others and does nothing.",
        wrong: "move = \"0 bar\"",
        right: "move = \"-5 bar\"",
    }
    BAD_HASH = "TL0248" {
        title: "not a SHA-256",
        means: "A pin is 64 hexadecimal digits.",
        why: "A pin that no file can have keeps the model out for ever.",
        wrong: "sha256 = \"9f3c\"",
        right: "sha256 = \"9f3c…\" (64 digits)",
    }
    BAD_NAME = "TL0249" {
        title: "not a name",
        means: "Names begin with a letter and go on with letters, digits, _ and -, at most 64.",
        why: "Names appear in files, metrics, topics and pages, where other characters have \
         meanings.",
        wrong: "[tag.\"melt temp\"]",
        right: "[tag.melt_temp]",
    }
    UNKNOWN_WORD = "TL0250" {
        title: "not one of the words possible",
        means: "The key takes one of a few words.",
        why: "A word that is nearly right must not become a default.",
        wrong: "mode = \"automatic\"",
        right: "mode = \"auto\"",
    }
    GIVEN_TWICE = "TL0251" {
        title: "one thing given for two",
        means: "The same tag stands for two different things.",
        why: "A label whose value is its own part id measures nothing.",
        wrong: "part = \"insp_id\", value = \"insp_id\"",
        right: "part = \"insp_id\", value = \"insp_weight\"",
    }
    EFFECT_SETTINGS = "TL0252" {
        title: "effect settings that can never act",
        means: "As many crossings of the target are asked for as there are labels in the window, \
            or \
         more.",
        why: "The detector of oscillation would never fire.",
        wrong: "crossings = 24, window = 24",
        right: "crossings = 6, window = 24",
    }
    CHECK_SHAPE = "TL0253" {
        title: "a check that checks nothing",
        means: "A [[check]] expects nothing, or does not say which setpoint it speaks of.",
        why: "A test that cannot fail proves nothing.",
        wrong: "expect = { }",
        right: "expect = { signature = \"short_shot\" }",
    }
    CHECK_FAILED = "TL0254" {
        title: "a check of the recipe failed",
        means: "The production code, run on what `given` says, did not do what `expect` says.",
        why: "The recipe does not do what its author meant, or the author's picture of it is out \
            of \
         date.",
        wrong: "expect = { moves = \"up\", … }, and it moved down",
        right: "correct the rule, or the expectation",
    }
    SETPOINT_PERIOD = "TL0255" {
        title: "faster than a scan",
        means: "A time of the recipe is shorter than the scan period, so it cannot be kept.",
        why: "A write is confirmed and a command dies in whole scans.",
        wrong: "ttl = \"50 ms\" with period = \"100 ms\"",
        right: "ttl = \"2 s\"",
    }
    FEATURE_SHAPE = "TL0256" {
        title: "a feature does not say clearly what it is",
        means: "A feature takes a number from a tag, or is the difference, product or ratio of two \
         features that do.",
        why: "What could be read in two ways would be read in the wrong one.",
        wrong: "[feature.power]\ntag = \"torque\"\nproduct = [\"torque\", \"speed\"]",
        right: "[feature.power]\nproduct = [\"torque\", \"speed\"]",
    }
    FAULT_SHAPE = "TL0257" {
        title: "a fault does not say clearly what it is",
        means: "A [fault.…] is seen by exactly one thing, and its texts are neither empty nor longer \
         than 2000 bytes.",
        why: "An order that nobody can read, or that two conditions raise, is worked by nobody.",
        wrong: "when = { signature = \"short_shot\", chart = \"cushion\" }",
        right: "when = { loop = \"weight\", authority_used = \"60 %\" }",
    }
}
