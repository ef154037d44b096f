"""What is accepted during a storm: generated notes, each with a phrase that nothing else holds."""

import json
import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

ENGLISH = """
archive backup branch cache certificate channel cluster commit container cursor daemon
deadline device filter firewall folder gateway handler harbour header index kernel key
lantern ledger library limit link log mailbox manifest memory message mirror module network
packet password patch path pipeline policy process profile protocol proxy queue record
region release replica report request router schedule schema script secret server session
shell signal snapshot socket storage stream switch table tenant thread ticket token tunnel
update user vault version volume window worker zone
"""
CHINESE = """
归档 备份 分支 缓存 证书 频道 集群 提交 容器 游标 进程 期限 设备 过滤 防火墙
文件夹 网关 日志 邮箱 清单 内存 消息 镜像 模块 网络 密码 补丁 路径 策略 协议
代理 队列 记录 区域 版本 副本 报告 请求 路由 计划 脚本 密钥 服务器 会话 信号
快照 存储 数据 表格 租户 线程 令牌 隧道 更新 用户 窗口
"""

#: Shares of a storm's operations that are not the first version of a note.
UPDATES, DELETIONS, REPEATS = 0.12, 0.06, 0.06
#: Shares of the notes.
LONG, IN_CHINESE = 0.35, 0.25
#: Share of the versions that is uploaded through the web page.
THROUGH_WEB = 0.3


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that a person does: hand a version of a note over, or delete the note."""

    number: int
    kind: str  #: add, update, repeat (the same bytes again) or delete
    external_id: str
    text: str = ""
    phrase: str = ""
    through_web: bool = False


@dataclass(frozen=True, slots=True)
class Note:
    """What has to be true of a note in the end."""

    external_id: str
    text: str | None  #: None: deleted
    phrase: str
    outdated: tuple[str, ...]  #: phrases that it must not be found by any more


def operations_of(seed: int, notes: int) -> list[Operation]:
    """The operations of a storm, the same for the same seed."""
    rng = random.Random(seed)
    operations: list[Operation] = []
    alive: dict[str, Operation] = {}
    added = version = 0
    while added < notes:
        roll = rng.random()
        number = len(operations)
        if alive and roll < UPDATES + DELETIONS + REPEATS:
            last = alive[rng.choice(list(alive))]
            if roll < REPEATS:
                operation = Operation(
                    number, "repeat", last.external_id, last.text, last.phrase, last.through_web
                )
            elif roll < REPEATS + DELETIONS:
                operation = Operation(number, "delete", last.external_id)
                del alive[last.external_id]
            else:
                version += 1
                operation = _version(rng, number, "update", last.external_id, seed, version)
                alive[last.external_id] = operation
        else:
            added, version = added + 1, version + 1
            name = f"storm-{seed}/note-{added:04}.md"
            operation = _version(rng, number, "add", name, seed, version)
            alive[name] = operation
        operations.append(operation)
    return operations


def _version(
    rng: random.Random, number: int, kind: str, name: str, seed: int, version: int
) -> Operation:
    sections = rng.randint(6, 14) if rng.random() < LONG else rng.randint(1, 2)
    in_chinese = rng.random() < IN_CHINESE
    words = (CHINESE if in_chinese else ENGLISH).split()
    space, stop = ("", "。") if in_chinese else (" ", ". ")
    title = space.join(rng.choices(words, k=3))
    phrase = space.join(_invented(rng, in_chinese) for _ in range(3))
    place = rng.randrange(sections)
    parts = [f"---\ntitle: {title} {version}\ntags: [drill, storm-{seed}]\n---\n\n# {title}\n"]
    for section in range(sections):
        sentences = [
            space.join(rng.choices(words, k=rng.randint(6, 14))) for _ in range(rng.randint(3, 8))
        ]
        if section == place:
            sentences.insert(rng.randrange(len(sentences)), phrase)
        parts.append(f"## {space.join(rng.choices(words, k=2))}\n\n{stop.join(sentences)}{stop}\n")
    return Operation(number, kind, name, "\n".join(parts), phrase, rng.random() < THROUGH_WEB)


def _invented(rng: random.Random, in_chinese: bool) -> str:
    """A word that no other note has."""
    if in_chinese:
        return "".join(chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(3))
    return "".join(rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") for _ in range(4))


def outcome_of(operations: Iterable[Operation]) -> list[Note]:
    """The notes after these operations."""
    notes: dict[str, Note] = {}
    for operation in operations:
        before = notes.get(operation.external_id)
        outdated = before.outdated if before else ()
        if before and before.text is not None and before.phrase != operation.phrase:
            outdated = (*outdated, before.phrase)
        notes[operation.external_id] = Note(
            operation.external_id,
            None if operation.kind == "delete" else operation.text,
            operation.phrase,
            outdated,
        )
    return list(notes.values())


def write_operations(path: Path, operations: list[Operation]) -> None:
    path.write_text("".join(json.dumps(asdict(operation)) + "\n" for operation in operations))


def read_operations(path: Path) -> list[Operation]:
    return [Operation(**json.loads(line)) for line in path.read_text().splitlines()]


def journalled(path: Path) -> list[int]:
    """Numbers of the operations that were accepted; a last line cut by a kill does not count."""
    if not path.exists():
        return []
    *lines, _ = path.read_text().split("\n")
    return [int(line) for line in lines]
