"""How people put what is worth remembering, in English: one line per way of saying it.

Each is searched in one clause of at most some hundred characters, so none can be slow for long. A phrase promises
little by itself: what it finds still has to pass the gate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.rag.dates import WHEN_IN_PATTERNS
from shared.schemas.facts import FactKind

WORDS = {
    "I": r"\bI(?: also| really| still| now| currently| just| actually| only| always| usually| generally| mostly){0,2}",
    "am": r"\bI(?:'m| am)(?: also| really| still| now| currently| actually| originally| severely| very| highly)?",
    "we": r"\b(?i:I|we)(?:'ve| have)?(?: all| both| also| really| still| now| currently| just| finally| always| usually"
    r"| generally| mostly){0,2}",
    "we_are": r"\b(?i:I'm|I am|we're|we are)(?: also| still| now| currently)?",
    "we_will": r"\b(?i:I'll|I will|we'll|we will)(?: definitely| also| then| just)?",
    "my": r"\b(?i:my|our)",
    "the": r"\b(?i:the|my|our|his|her|their)",
    "is": r"(?:'s| is)(?: now| still)?",
    "name": r"[^\W\d_a-z][\w'-]*(?: (?:(?:van|von|de|da|la|di|the|of) )?[^\W\d_a-z][\w'-]*){0,3}",
    "short": r"(?P<value>[^,;:!?]{2,60}?)"
    r"(?=(?: (?:and|but|because|since|so|with|for|when|where|which|who|now|though)\b|[,;:.!?]|$))",
    "few": r"(?P<value>[\w'-]+(?: [\w'-]+){0,3})$",
    "clause": r"(?P<value>[^,;:!?]{2,160})",
    "not_vague": r"(?!(?:it|that|this|these|those|the|how|what|when|where|you|your|him|her|them|my|our|to|being|all"
    r"|everything|everybody|everyone)\b)",
    "relation": r"(?P<who>(?:(?:older|younger|big|little|elder|twin|best|eldest|youngest|oldest|old|new|ex)[ -])?"
    r"(?:sister|brother|wife|husband|partner|girlfriend|boyfriend|fianc[eé]e?|son|daughter|mother|mom|mum|father|dad"
    r"|aunt|uncle|cousin|niece|nephew|grandmother|grandma|grandfather|grandpa|grandson|granddaughter|friend|boss"
    r"|manager|colleague|neighbou?r|landlord|landlady|doctor|dentist|lawyer|therapist|teacher|flatmate|roommate"
    r"|assistant|dog|cat)(?:-in-law)?)",
    "job": r"(?:engineer|developer|programmer|teacher|nurse|doctor|surgeon|lawyer|accountant|architect|designer|baker"
    r"|student|electrician|plumber|carpenter|chef|cook|pilot|driver|journalist|writer|musician|photographer|vet"
    r"|scientist|researcher|professor|consultant|manager|mechanic|farmer|dentist|pharmacist|translator|librarian"
    r"|midwife|physiotherapist|psychologist|therapist|gardener|painter|actor|actress|economist|biologist|physicist)",
    "task": r"(?:send|write|call|phone|e-?mail|book|prepare|finish|buy|bring|order|check|review|fix|talk to|schedule"
    r"|organi[sz]e|pay|pick up|update|share|upload|draft|contact|deliver|set up|arrange|submit|sign|clean|ask"
    r"|print|look into|take care of|forward|reserve|renew|cancel|drop off|translate|water|invite|visit|collect|repair)",
    "owned": r"(?:dogs?|cats?|cars?|van|bikes?|bicycle|motorbike|house|flat|apartment|cottage|cabin|boat|piano|guitar"
    r"|violin|horses?|sisters?|brothers?|siblings|sons?|daughters?|kids|children|twins|grandchildren|rabbits?|hens"
    r"|chickens|parrot|garden|allotment)",
    "thing": r"(?P<thing>(?!(?:one|thing|problem|point|question|first|last|next|weather|best|plan|rest|other)\b)"
    r"[\w'-]+(?: (?!is\b|was\b|has\b|will\b|are\b)[\w'-]+){0,3}?)",
    "numbered": r"(?P<thing>(?:(?:phone|mobile|cell|telephone|account|passport|customer|order|room|flight|reference"
    r"|licen[cs]e|tax|case|invoice|policy|ticket|serial) )?number|iban|IBAN|pin|PIN"
    r"|(?:door|zip|booking|access|gate|alarm|post|area) ?code|booking reference|licen[cs]e plate|e-?mail(?: address)?"
    r"|(?:home |postal |street )?address)",
    "amount": r"(?P<thing>(?:[\w-]+ )?(?:budget|rent|price|cost|salary|fee|deposit|target|limit|quote|offer|discount"
    r"|blood pressure|weight|height|dose|dosage|shoe size|interest rate))",
    "figure": r"(?:\S*\d\S*|(?:(?:zero|oh|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|[a-z]+teen"
    r"|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|double)\b[\s,-]*){1,12})",
    "when": WHEN_IN_PATTERNS,
    "does": r"(?:works?|lives?|studies|moved to|was born|teaches|speaks|plays|likes|loves|got|has|is an?"
    r"|is \w+ing|just (?:moved|started|got))",
}
"""Words by which the phrases are written; `{name}` in one is put in from here."""


@dataclass(frozen=True)
class Phrase:
    """One way of saying one kind of thing. Groups: `value`; `thing`, `who`, `name` where slot or subject need them."""

    kind: FactKind
    pattern: re.Pattern[str]
    confidence: float
    """That a clause of this form is a fact, 0 to 1, before the gate."""
    slot: str
    """What its subject has one of at a time, groups put in: a new value ends the old one. Empty: any number."""
    dated: bool
    """Whether it is a fact only with a moment in it."""
    negative: bool
    """Whether denying is what it says, so that a "not" does not turn it over."""


def _phrase(
    kind: FactKind, confidence: float, text: str, slot: str = "", *, dated: bool = False, negative: bool = False
) -> Phrase:
    written = re.sub(r"\{([A-Za-z_]+)\}", lambda found: WORDS[found[1]], text)
    return Phrase(kind, re.compile(written), confidence, slot, dated, negative)


PHRASES: tuple[Phrase, ...] = (
    # who somebody is
    _phrase("identity", 0.95, r"{my} (?:full |first |last |middle )?name{is} (?P<value>{name})", "name"),
    _phrase("identity", 0.5, r"{my} (?:full |first |last )?name{is} (?P<value>[\w'-]+)$", "name"),
    _phrase("identity", 0.8, r"(?:^[Cc]all me|{am} called) (?P<value>{name})", "nickname"),
    _phrase("identity", 0.75, r"(?:\b[Tt]his is|{am}) (?P<value>{name}),? (?:from|speaking|calling)\b", "name"),
    _phrase("identity", 0.9, r"{am} (?P<value>[\w-]+(?: [\w-]+)?) years old", "age"),
    _phrase("identity", 0.9, r"\b(?i:my) birthday{is} (?:on )?{clause}", "birthday", dated=True),
    _phrase("identity", 0.9, r"\bI was born (?:on|in) {short}", "birth"),
    _phrase(
        "identity", 0.9, r"{we} (?:live|moved|been living) (?:in|to|near|at|on) (?P<value>(?:the )?{name})", "home"
    ),
    _phrase("identity", 0.9, r"{we_are} living (?:in|near|at|on) (?P<value>(?:the )?{name})", "home"),
    _phrase(
        "identity",
        0.5,
        r"{we} live (?:in|near|at|on) (?!fear|hope|peace|the moment|a world|a society|a time|denial){short}",
        "home",
    ),
    _phrase("identity", 0.85, r"(?:{am} from|{I} (?:come from|grew up in)) (?P<value>(?:the )?{name})", "origin"),
    _phrase(
        "identity",
        0.85,
        r"{I}(?: can)? speak (?P<value>(?:fluent |a little |some )?[A-Z][a-z]+(?:(?:,| and|, and) [A-Z][a-z]+)*)",
    ),
    # work
    _phrase("work", 0.9, r"{I} work (?:at|for|with) (?P<value>(?:the |a )?{name})", "employer"),
    _phrase("work", 0.85, r"{am} working (?:at|for) (?P<value>(?:the )?{name})", "employer"),
    _phrase("work", 0.9, r"{I} work as an? {short}", "occupation"),
    _phrase("work", 0.85, r"{am} an? (?P<value>(?:[\w-]+ ){0,3}{job})\b", "occupation"),
    # health
    _phrase("health", 0.95, r"{am} allergic to {short}"),
    _phrase("health", 0.95, r"{I} have an? (?P<value>(?:[\w-]+ ){1,3}(?:allergy|intolerance))\b"),
    _phrase(
        "health",
        0.9,
        r"{am} (?P<value>(?:type (?:one|two|1|2) )?(?:diabetic|(?:lactose|gluten|fructose)[ -]intolerant|co?eliac"
        r"|asthmatic|epileptic|pregnant|colou?r[ -]?blind|dyslexic))\b",
    ),
    _phrase(
        "health",
        0.9,
        r"{I} have (?P<value>(?:type (?:one|two|1|2) )?(?:diabetes|asthma|epilepsy|high blood pressure|hay fever"
        r"|co?eliac disease|arthritis|a pacemaker|migraines))\b",
    ),
    _phrase("health", 0.95, r"{my} {relation}(?:,? (?P<name>[A-Z][\w'-]+),?)? is (?:\w+ly |very )?allergic to {short}"),
    _phrase(
        "health",
        0.8,
        r"\bI(?: can't| cannot| must not| mustn't|'m not allowed to| am not allowed to) (?:eat|drink) "
        r"{not_vague}{short}",
        negative=True,
    ),
    # preferences
    _phrase("preference", 0.85, r"{we} prefer {not_vague}(?P<value>[^,;:!?]{2,80})"),
    _phrase(
        "preference",
        0.85,
        r"{my} (?:absolute )?favou?rite (?P<thing>[\w-]+(?: [\w-]+)?) (?:is|are) {short}",
        "favourite {thing}",
    ),
    _phrase(
        "preference",
        0.9,
        r"{am} (?:an? )?(?P<value>(?:strict )?(?:vegetarian|vegan|pescatarian|teetotal(?:ler)?|left-handed))\b",
        "diet",
    ),
    _phrase(
        "preference",
        0.8,
        r"\bI(?: only| never| don't| do not) (?:eat|drink|smoke) {not_vague}{short}",
        negative=True,
    ),
    _phrase(
        "preference",
        0.5,
        r"^I(?: really| absolutely)? (?:hate|dislike|can't stand|cannot stand|don't like|do not like) "
        r"{not_vague}{few}",
        "taste {value}",
        negative=True,
    ),
    _phrase(
        "preference",
        0.5,
        r"^I(?: really| absolutely| also| still)? (?:love|like|enjoy) {not_vague}{few}",
        "taste {value}",
    ),
    # people and things of one's own
    _phrase("relation", 0.95, r"{my} {relation}(?:'s name is| is called| is named) (?P<value>{name})"),
    _phrase("relation", 0.85, r"\b(?P<value>{name}) is (?:my|our) {relation}\b"),
    _phrase("relation", 0.9, r"{my} {relation},? (?P<name>[A-Z][\w'-]+),? (?P<value>{does}\b[^;:!?]{2,120})"),
    _phrase(
        "relation",
        0.85,
        r"{my} {relation} (?P<value>(?:works? (?:at|as|for|in)|lives? in|studies|moved to|was born|teaches|speaks"
        r"|is an? (?:\w+ )?{job})\b[^;:!?]{0,120})",
    ),
    _phrase(
        "relation",
        0.9,
        r"{my} {relation}(?:,? (?P<name>[A-Z][\w-]+),?)?(?:'s)? birthday{is} (?:on )?{clause}",
        "{who} birthday",
        dated=True,
    ),
    _phrase(
        "possession",
        0.85,
        r"{we} (?:got|have|own|bought|drive|adopted) (?P<value>(?:an?|one|two|three|four|five|\d{1,2})"
        r"(?: (?!good|great|bad)[\w-]+){0,2}? {owned}\b(?: (?:called|named) {name}(?: and {name})*)?)",
    ),
    _phrase("possession", 0.8, r"\bI drive an? (?P<value>(?:[\w-]+ )?{name})", "car"),
    # somebody with a name
    _phrase(
        "relation",
        0.8,
        r"\b(?P<name>{name}) (?P<value>(?:lives in|works (?:at|for|as)|moved to|is allergic to|was born (?:on|in)"
        r"|studies|speaks|is married to|is getting married)\b[^;:!?]{2,120})",
    ),
    _phrase("relation", 0.85, r"\b(?P<name>[A-Z][\w-]+)'s birthday{is} (?:on )?{clause}", "birthday", dated=True),
    # numbers by which people and things are reached
    _phrase(
        "contact",
        0.9,
        r"(?:{the}|\b(?P<name>[A-Z][\w-]+)'s) {numbered}(?: for (?:the )?[\w-]+)?{is} "
        r"(?P<value>(?:[\w.-]+ ){0,3}?(?:{figure}|\S+@\S+)[^;!?]{0,60})",
        "{thing}",
    ),
    _phrase(
        "contact",
        0.75,
        r"{the} (?P<thing>(?:home |new |postal )?address|(?:wi-?fi|Wi-?[Ff]i|wireless) (?:password|name)"
        r"|password(?: for (?:the )?[\w-]+)?) is (?P<value>(?!wrong|not\b|on\b|in\b|too\b|still|the\b|correct|being"
        r"|changing|required|expired|strong|weak|secret)[^,;!?]{3,100})",
        "{thing}",
    ),
    _phrase("contact", 0.85, r"\b[Yy]ou can (?:reach|call|phone|text) me (?:on|at|under) (?P<value>{figure}.{0,40})"),
    _phrase(
        "number",
        0.85,
        r"{the} {amount}(?: for [\w -]{2,30}?)?(?: is| will be| comes to| was set (?:at|to)|'s)"
        r"(?: now| about| around| exactly)? (?P<value>[€$£]?{figure}[^;!?]{0,60})",
        "{thing}",
    ),
    # decisions
    _phrase(
        "decision",
        0.9,
        r"(?:{we}|\b[Tt]hey(?:'ve| have)?|\b[Tt]he (?:team|board|committee)(?: has| have)?) "
        r"(?:decided|agreed|settled|opted|chose)(?: not)? (?:to|on|that|for|against|upon|in favou?r of) {clause}",
        negative=True,
    ),
    _phrase("decision", 0.85, r"\b[Tt]he decision (?:is|was)(?: made)?(?: to| that) {clause}", negative=True),
    _phrase("decision", 0.8, r"\b[Ii]t(?:'s| is| was) (?:decided|agreed|settled)(?: now)? that {clause}"),
    _phrase("decision", 0.8, r"{we_are} going with (?P<value>(?!it\b|that\b|this\b|you\b)[^,;:!?]{2,120})"),
    _phrase("decision", 0.8, r"{we_will} go with (?P<value>(?!it\b|that\b|this\b|you\b)[^,;:!?]{2,120})"),
    _phrase(
        "decision",
        0.75,
        r"\b[Ll]et's (?:use|go with|stick (?:with|to)|switch to|choose|pick|hire|ship|release|postpone|schedule"
        r"|name it|call it|book|order|launch|cancel|move the|make it|meet) "
        r"(?P<value>(?!it$|this\b|that\b|up$|a break|again$|later$)[^,;:!?]{2,120})",
    ),
    # promises and things to do
    _phrase("commitment", 0.75, r"{we_will} (?P<value>{task}\b[^;:!?]{2,140})"),
    _phrase("commitment", 0.75, r"{we} (?:promise|promised) to (?P<value>{task}\b[^;:!?]{2,140})"),
    _phrase("commitment", 0.7, r"{we_are} going to (?P<value>{task}\b[^;:!?]{2,140})"),
    _phrase(
        "commitment",
        0.7,
        r"{we} (?:need to|have to|must|got to)(?: remember to)? (?P<value>{task}\b[^;:!?]{2,140})",
    ),
    _phrase(
        "commitment",
        0.75,
        r"\b(?:[Rr]emind me to|[Dd]on't forget to|[Rr]emember to) (?P<value>(?:{task}|take)\b[^;:!?]{2,140})",
        negative=True,
    ),
    _phrase(
        "commitment",
        0.75,
        r"\b(?P<name>[A-Z][\w-]+)(?:'ll| will| is going to| promised to| has to| needs to) "
        r"(?P<value>{task}\b[^;:!?]{2,140})",
    ),
    # dates
    _phrase(
        "plan",
        0.9,
        r"{the} {thing}(?: is| are| was| were| has been| have been| will be| got)?(?: now| just)? (?:moved|postponed"
        r"|brought forward|pushed back|rescheduled|delayed) (?:to|until|till|by) (?P<value>[^;!?]{2,80})",
        "when {thing}",
        dated=True,
    ),
    _phrase(
        "plan",
        0.85,
        r"{the} {thing}(?: is| are|'s| will be| takes? place| starts?| begins?| ends?| opens?"
        r"| closes?| expires?)"
        r"(?: now)?(?: due| scheduled| planned| set)?(?: for| on| at| in| by| until| from)? "
        r"(?P<value>(?:the )?{when}[^;!?]{0,60})",
        "when {thing}",
        dated=True,
    ),
    _phrase(
        "plan",
        0.85,
        r"(?:{we}(?:'re| are|'m| am|'ll| will)?|\b(?P<name>[A-Z][\w-]+)(?: is)?|\b(?i:he|she|they)(?: is| are)?"
        r"|{my} (?:{relation}|parents|family|kids|children|friends|grandparents|in-laws)(?: is| are)?)"
        r"(?: going to)? (?P<value>(?:fly|flying|flies|leave|leaving|leaves|travel(?:ling|s)?|meet|meeting|meets"
        r"|arrive|arriving|arrives|move|moving|moves|visit|visiting|start|starting|starts|go|going|marry|marrying"
        r"|getting married|drive|driving|come|coming|comes)\b[^;!?]{0,80}?{when}[^;!?]{0,60})",
        dated=True,
    ),
    _phrase(
        "plan",
        0.85,
        r"(?:{we}|\b(?P<name>[A-Z][\w-]+)) (?:has|have|had|got|booked|scheduled|made|reserved) "
        r"(?P<value>(?:an?|the|my|our|another) (?:[\w'-]+ ){0,3}?(?:appointment|meeting|call|interview"
        r"|exam|check-?up|reservation|table|flight|surgery|operation|concert|wedding|party|lesson|class|session|viewing|train|ferry|hotel|room)\b"
        r"[^;!?]{0,60}?{when}[^;!?]{0,40})",
        dated=True,
    ),
)
