"""Detection of the text encoding of member names in archives that do not declare it.

Zip tools for Windows write names in the code page of the system, and tar stores bytes. Detectors of text encodings need
longer texts: charset-normalizer takes `кошки` in cp866 for UTF-16.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from itertools import islice
from typing import NamedTuple

from cnn_classifier.data import AUTO
from cnn_classifier.errors import DataError

ReadNames = Callable[[], Iterable[bytes]]
MAX_SAMPLED_NAMES = 2000
WESTERN = "éèêëàâäáãåæçíìîïñóòôöõøúùûüßœ"
CENTRAL = "čřšžěůťďňáéíóúýąćęłńśźżőűöüäăâîșț"
CYRILLIC = "оеаинтсрвлкмдпуяыьгзбч"
KANA = "".join(map(chr, [*range(0x3041, 0x3094), *range(0x30A1, 0x30F7), 0x30FC]))
KANJI = "写真画像犬猫鳥魚花木山川海空車人物食品果実野菜白黒赤青黄緑大小新古正常異良不合格欠陥表示学習訓練検証試験動植"
HANGUL = (
    "이다는을가의에고하지기로도리어사자시아인해한은나스대라그수정일들서보구제부장전주상과원여만소성선우오진비동조"
    "마치관계미무유강물모경안게면신운연개양화방세영생트식드위바민공발용호당국학행내회차분간산파노출목체문거달말"
    "남명손꽃개새집밤빛배감귤딸토복숭포도검빨노랑초록파랑흰얼굴음훈련테검증불량"
)
SIMPLIFIED = (
    "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多"
    "天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长知民样现分将外但"
    "身些与高意进把法此实回二理美点月明其种声全工己话儿者向情部正名定女问力机给等几很业最间新什打便位因重被走电四"
    "第门相次东政海口使教西再平真听世气信北少关并内加化由却代军产入先山五太水万市眼体别处总才场师书比住员九笑性通"
    "目华报立马命张活难神数件安表原车白应路期叫死常提感金何更反合放做系计或司利受光王果亲界及今京务制解各任至清物"
    "台象记边共风战干接它许八特觉望直服毛林题建南度统色字请交爱让认算论百吃义科怎元社术结六功指思非流每青管夫连远"
    "猫狗鸟鱼花草树苹果香蕉橙葡萄桃梨红黄蓝绿黑照片图像训练验测试集良品缺陷类型健康病叶蝴蝶鸡鸭鹅牛羊猪虎狮熊兔鼠蛇"
)
TRADITIONAL = (
    "的一是不了在人有我他這中大來上國個到說們為子和你地出道也時年得就那要下以生會自著去之過家學對可她里後小麼心多"
    "天而能好都然沒日於起還發成事只作當想看文無開手十用主行方又如前所本見經頭面公同三已老從動兩長知民樣現分將外但"
    "貓狗鳥魚花草樹蘋果香蕉橙葡萄桃梨紅黃藍綠黑白照片圖像訓練驗測試集良品缺陷類型健康病葉蝴蝶雞鴨鵝牛羊豬虎獅熊兔鼠"
)


class Candidate(NamedTuple):
    """An encoding and the characters that names in it consist of.

    Args:
        common: The frequent letters in lower case, or the frequent characters.
        lead_bytes: The first bytes of the frequent half of the characters; None for an encoding with one byte per
            character.
    """

    common: frozenset[str]
    lead_bytes: range | None = None


# In the order in which equal scores are resolved; cp437 is the default of the zip format.
CANDIDATES = {
    "cp437": Candidate(frozenset(WESTERN)),
    "cp1252": Candidate(frozenset(WESTERN)),
    "cp850": Candidate(frozenset(WESTERN)),
    "cp1250": Candidate(frozenset(CENTRAL)),
    "cp852": Candidate(frozenset(CENTRAL)),
    "cp866": Candidate(frozenset(CYRILLIC)),
    "cp1251": Candidate(frozenset(CYRILLIC)),
    "gbk": Candidate(frozenset(SIMPLIFIED), range(0xB0, 0xD8)),
    "big5": Candidate(frozenset(TRADITIONAL), range(0xA4, 0xC7)),
    "cp932": Candidate(frozenset(KANA + KANJI), range(0x88, 0x98)),
    "cp949": Candidate(frozenset(HANGUL), range(0xB0, 0xC9)),
}


class NameDecoder:
    """Converts the bytes of member names to text; the encoding is detected from all names of the archive together.

    Args:
        encoding: The name of a codec, or `auto`.
    """

    def __init__(self, encoding: str = AUTO) -> None:
        self.encoding = encoding
        self.examples: dict[str, None] = {}

    def decode(self, raw: bytes, read_all_names: ReadNames) -> str:
        """Return a name as text.

        Args:
            raw: The bytes of the name.
            read_all_names: A function that returns the names of all members. It is called at most once.

        Raises:
            DataError: If the configured encoding cannot decode the name.
        """
        if raw.isascii():
            return raw.decode("ascii")
        is_detected = self.encoding == AUTO
        if is_detected:
            self.encoding = detect_encoding(read_all_names())
        try:
            name = raw.decode(self.encoding)
        except UnicodeDecodeError as error:
            raise DataError(
                f"dataset.zip_encoding={self.encoding} cannot decode the name {raw[:100]!r}. Set the encoding of the "
                "system on which the archive was created, or auto."
            ) from error
        if len(self.examples) < 5:
            self.examples |= dict.fromkeys(part for part in re.split(r"[/\\]", name) if not part.isascii())
        return name


def is_name_encoding(name: str) -> bool:
    """Return whether a name is `auto`, or that of a text encoding that contains ASCII, as archives require."""
    samples = (rb"a\n", bytes(range(128)))
    try:
        return name == AUTO or all(sample.decode(name) == sample.decode("ascii") for sample in samples)
    except (LookupError, ValueError, TypeError):
        return False


def detect_encoding(names: Iterable[bytes]) -> str:
    """Return the codec of the names: UTF-8 if all are valid UTF-8, otherwise the candidate with the highest score.

    `cp437` is returned if no candidate decodes all names.
    """
    parts = dict.fromkeys(part for name in names for part in name.split(b"/") if not part.isascii())
    sampled = list(islice(parts, MAX_SAMPLED_NAMES))
    if all(map(is_utf8, parts)):
        return "utf-8"
    scores = {codec: score_encoding(sampled, codec, candidate) for codec, candidate in CANDIDATES.items()}
    decodable = [codec for codec in scores if codec == "cp437" or all(is_decodable(part, codec) for part in parts)]
    return max(decodable, key=lambda codec: scores[codec])


def is_utf8(raw: bytes) -> bool:
    """Return whether bytes are valid UTF-8."""
    return is_decodable(raw, "utf-8")


def is_decodable(raw: bytes, codec: str) -> bool:
    """Return whether a codec decodes these bytes."""
    try:
        raw.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def score_encoding(names: Iterable[bytes], codec: str, candidate: Candidate) -> float:
    """Return the mean score of the characters of names in an encoding, weighted by their bytes."""
    total, num_bytes = 0.0, 0
    for raw in names:
        name = raw.decode(codec, "replace")
        for index, character in enumerate(name):
            if not character.isascii():
                size = len(character.encode(codec, "replace"))
                total += size * score_character(name, index, codec, candidate)
                num_bytes += size
    return total / max(num_bytes, 1)


def score_character(name: str, index: int, codec: str, candidate: Candidate) -> float:
    """Return the plausibility of a character of a name, from -3 to 3."""
    character = name[index]
    if not character.isalpha():
        return -3
    if candidate.lead_bytes:
        return score_ideograph(character, codec, candidate)
    before, after = name[index - 1 : index], name[index + 1 : index + 2]
    is_cyrillic = "CYRILLIC" in unicodedata.name(character, "")
    if before.isalpha() and is_cyrillic != ("CYRILLIC" in unicodedata.name(before, "")):
        return -3  # two scripts in one word
    if after in set("\\@[]^`{|}~"):
        return -3  # the second byte of a character with two bytes
    if (character.isupper() and before.islower()) or (character.islower() and after.isupper()):
        return -2
    if character.lower() in candidate.common:
        if is_cyrillic:
            return 2.4 if character.isupper() else 3
        return 3 if before.isascii() else 0  # Latin words have few accents in a row
    return 1 if is_cyrillic else -1


def score_ideograph(character: str, codec: str, candidate: Candidate) -> float:
    """Return the plausibility of a character of an East Asian encoding, from -2 to 3."""
    if character in candidate.common:
        return 3
    lead, trail = (*character.encode(codec, "replace"), 0)[:2]
    is_standard = trail >= 0xA1 or codec in ("big5", "cp932")  # else an extension with rare characters
    if is_standard and candidate.lead_bytes and lead in candidate.lead_bytes:
        return 1 if codec == "cp949" else 2
    return 0 if codec == "gbk" and is_standard else -2
