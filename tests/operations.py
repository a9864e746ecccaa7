"""Random operations on a database, for property tests.

An operation is a function of a World and two small numbers, by which it picks its rows; it does
nothing where there is no row to pick. Every row gets a name of its own, so that databases can be
compared without their automatic keys.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db import models

from tests.testapp.models import (
    Author,
    Book,
    Box,
    CascadeLeaf,
    City,
    Club,
    Copier,
    Country,
    Desk,
    Document,
    Fan,
    Folder,
    Friend,
    Gadget,
    Hub,
    Item,
    Label,
    Locker,
    Member,
    Membership,
    Note,
    Paper,
    Parcel,
    Passport,
    Pizzeria,
    Place,
    Plant,
    Player,
    Post,
    Restaurant,
    Ring,
    Seat,
    SetNullLeaf,
    Slot,
    Stamp,
    Tag,
    Team,
    Token,
    Truck,
    Worker,
)


class World:
    """One database, and names that were never used before."""

    def __init__(self, alias: str, prefix: str = "") -> None:
        self.alias = alias
        self._prefix = prefix
        self._count = 0

    def name(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count}"

    def number(self) -> int:
        self._count += 1
        return 1000 + self._count

    def rows(self, model: type[models.Model]) -> models.QuerySet[Any]:
        return model._base_manager.using(self.alias)

    def pick(self, model: type[models.Model], index: int) -> Any:
        found = list(self.rows(model).order_by("pk"))
        return found[index % len(found)] if found else None

    def make(self, model: type[models.Model], **values: Any) -> Any:
        row = model(**values)
        row.save(using=self.alias)
        return row

    def edit(self, model: type[models.Model], index: int, **values: Any) -> None:
        row = self.pick(model, index)
        if row is not None:
            for field, value in values.items():
                setattr(row, field, value)
            row.save(using=self.alias)

    def delete(self, model: type[models.Model], index: int) -> None:
        row = self.pick(model, index)
        if row is not None:
            row.delete()

    def swap(self, model: type[models.Model], field: str, spare: Any, a: int, b: int) -> None:
        one, two = self.pick(model, a), self.pick(model, b)
        if one is None or one.pk == two.pk:
            return
        first, second = getattr(one, field), getattr(two, field)
        for row, value in ((one, spare), (two, first), (one, second)):
            setattr(row, field, value)
            row.save(using=self.alias)


Operation = Callable[[World, int, int], None]
SIMPLE: dict[str, Operation] = {}
"""Operations that make sense on both sides of a two-way synchronization."""
OPERATIONS: dict[str, Operation] = {}
"""All operations."""


def operation(function: Operation) -> Operation:
    OPERATIONS[function.__name__] = function
    return function


def simple(function: Operation) -> Operation:
    SIMPLE[function.__name__] = function
    return operation(function)


# Rows without relations


@simple
def add_note(world: World, a: int, b: int) -> None:
    world.make(Note, name=world.name(), number=a)


@simple
def edit_note(world: World, a: int, b: int) -> None:
    world.edit(Note, a, number=world.number())


@simple
def rename_note(world: World, a: int, b: int) -> None:
    world.edit(Note, a, name=world.name())


@simple
def delete_note(world: World, a: int, b: int) -> None:
    world.delete(Note, a)


@simple
def put_item(world: World, a: int, b: int) -> None:
    """Add or change: the key comes from a small set, so deleted ones come back."""
    world.make(Item, code=str(a), name=world.name())


@simple
def delete_item(world: World, a: int, b: int) -> None:
    world.delete(Item, a)


@simple
def add_token(world: World, a: int, b: int) -> None:
    world.make(Token, name=world.name())


@simple
def edit_token(world: World, a: int, b: int) -> None:
    world.edit(Token, a, name=world.name())


@simple
def delete_token(world: World, a: int, b: int) -> None:
    world.delete(Token, a)


@simple
def put_slot(world: World, a: int, b: int) -> None:
    world.make(Slot, room=str(a % 3), hour=b % 3, title=world.name())


@simple
def delete_slot(world: World, a: int, b: int) -> None:
    world.delete(Slot, a)


@operation
def add_box(world: World, a: int, b: int) -> None:
    world.make(Box, name=world.name(), width=a, height=b)


@operation
def edit_box(world: World, a: int, b: int) -> None:
    world.edit(Box, a, width=b)


@operation
def add_stamp(world: World, a: int, b: int) -> None:
    world.make(Stamp, name=world.name())


@operation
def edit_stamp(world: World, a: int, b: int) -> None:
    world.edit(Stamp, a, name=world.name())


# Rows with behaviour of their own


@operation
def add_parcel(world: World, a: int, b: int) -> None:
    world.make(Parcel, name=world.name())


@operation
def edit_parcel(world: World, a: int, b: int) -> None:
    world.edit(Parcel, a, name=world.name())


@operation
def delete_parcel(world: World, a: int, b: int) -> None:
    world.delete(Parcel, a)


@operation
def put_document(world: World, a: int, b: int) -> None:
    world.make(Document, title=world.name())


@operation
def edit_document(world: World, a: int, b: int) -> None:
    world.edit(Document, a, title=world.name())


@operation
def delete_document(world: World, a: int, b: int) -> None:
    world.delete(Document, a)


# Natural keys


@simple
def put_country(world: World, a: int, b: int) -> None:
    country = world.rows(Country).filter(code=str(a)).first()
    if country is None:
        world.make(Country, code=str(a), name=f"country {a}", population=world.number())
    else:
        country.population = world.number()
        country.save()


@operation
def rename_country(world: World, a: int, b: int) -> None:
    if not world.rows(Country).filter(code=f"r{b}").exists():
        world.edit(Country, a, code=f"r{b}")


@operation
def swap_countries(world: World, a: int, b: int) -> None:
    world.swap(Country, "code", "spare", a, b)


@simple
def delete_country(world: World, a: int, b: int) -> None:
    world.delete(Country, a)


@operation
def add_city(world: World, a: int, b: int) -> None:
    country = world.pick(Country, a)
    if country is not None:
        world.make(City, name=world.name(), country=country)


@operation
def move_city(world: World, a: int, b: int) -> None:
    if world.rows(City).exists():
        world.edit(City, a, country=world.pick(Country, b))


@operation
def delete_city(world: World, a: int, b: int) -> None:
    world.delete(City, a)


@operation
def add_plant(world: World, a: int, b: int) -> None:
    world.make(Plant, name=world.name(), serial=world.number())


@operation
def swap_plants(world: World, a: int, b: int) -> None:
    world.swap(Plant, "name", "spare", a, b)


@operation
def swap_serials(world: World, a: int, b: int) -> None:
    world.swap(Plant, "serial", 0, a, b)


@operation
def delete_and_replace_plant(world: World, a: int, b: int) -> None:
    old = world.pick(Plant, a)
    if old is not None:
        old.delete()
        world.make(Plant, name=world.name(), serial=old.serial)


@operation
def delete_and_readd_plant(world: World, a: int, b: int) -> None:
    old = world.pick(Plant, a)
    if old is not None:
        old.delete()
        world.make(Plant, name=old.name, serial=world.number())


# Unique values


@operation
def add_seat(world: World, a: int, b: int) -> None:
    if not world.rows(Seat).filter(position=a).exists():
        world.make(Seat, name=world.name(), position=a)


@operation
def swap_seats(world: World, a: int, b: int) -> None:
    world.swap(Seat, "position", -1, a, b)


@operation
def move_seat(world: World, a: int, b: int) -> None:
    if not world.rows(Seat).filter(position=b).exists():
        world.edit(Seat, a, position=b)


@operation
def delete_seat(world: World, a: int, b: int) -> None:
    world.delete(Seat, a)


@operation
def add_desk(world: World, a: int, b: int) -> None:
    if not world.rows(Desk).filter(room=str(a), number=b).exists():
        world.make(Desk, name=world.name(), room=str(a), number=b)


@operation
def swap_desks(world: World, a: int, b: int) -> None:
    one, two = world.pick(Desk, a), world.pick(Desk, b)
    if one is not None and one.room == two.room:
        world.swap(Desk, "number", -1, a, b)


@operation
def delete_desk(world: World, a: int, b: int) -> None:
    world.delete(Desk, a)


@operation
def put_locker(world: World, a: int, b: int) -> None:
    free = not world.rows(Locker).filter(key_number=str(b)).exists()
    world.make(Locker, code=str(a % 4), key_number=str(b) if free else None)


@operation
def hand_over_locker(world: World, a: int, b: int) -> None:
    author = world.pick(Author, a)
    if author is not None and world.rows(Locker).exists():
        for locker in world.rows(Locker).filter(owner=author):
            locker.owner = None
            locker.save()
        world.edit(Locker, b, owner=author)


@operation
def delete_locker(world: World, a: int, b: int) -> None:
    world.delete(Locker, a)


# Foreign keys


@operation
def add_author(world: World, a: int, b: int) -> None:
    world.make(Author, name=world.name())


@operation
def delete_author(world: World, a: int, b: int) -> None:
    world.delete(Author, a)


@operation
def add_book(world: World, a: int, b: int) -> None:
    author = world.pick(Author, a)
    if author is not None:
        world.make(Book, title=world.name(), author=author)


@operation
def move_book(world: World, a: int, b: int) -> None:
    if world.rows(Book).exists():
        world.edit(Book, a, author=world.pick(Author, b))


@operation
def put_passport(world: World, a: int, b: int) -> None:
    author = world.pick(Author, a)
    if author is not None:
        world.make(Passport, holder=author, number=world.name())


@operation
def delete_passport(world: World, a: int, b: int) -> None:
    world.delete(Passport, a)


@operation
def add_folder(world: World, a: int, b: int) -> None:
    world.make(Folder, name=world.name(), parent=world.pick(Folder, a) if b % 3 else None)


@operation
def move_folder(world: World, a: int, b: int) -> None:
    """Into any folder, itself included."""
    world.edit(Folder, a, parent=world.pick(Folder, b))


@operation
def delete_folder(world: World, a: int, b: int) -> None:
    world.delete(Folder, a)


@operation
def add_worker(world: World, a: int, b: int) -> None:
    world.make(Worker, name=world.name(), boss=world.pick(Worker, a), mentor=world.pick(Worker, b))


@operation
def move_worker(world: World, a: int, b: int) -> None:
    world.edit(Worker, a, boss=world.pick(Worker, b), mentor=world.pick(Worker, a + b))


@operation
def delete_worker(world: World, a: int, b: int) -> None:
    world.delete(Worker, a)


@operation
def add_team(world: World, a: int, b: int) -> None:
    team = world.make(Team, name=world.name())
    world.make(Player, name=world.name(), team=team)


@operation
def choose_captain(world: World, a: int, b: int) -> None:
    world.edit(Team, a, captain=world.pick(Player, b))


@operation
def move_player(world: World, a: int, b: int) -> None:
    if world.rows(Player).exists():
        world.edit(Player, a, team=world.pick(Team, b))


@operation
def delete_team(world: World, a: int, b: int) -> None:
    world.delete(Team, a)


@operation
def delete_player(world: World, a: int, b: int) -> None:
    world.delete(Player, a)


@operation
def add_ring(world: World, a: int, b: int) -> None:
    code = world.name()
    other = world.pick(Ring, a)
    world.make(Ring, code=code, next_id=other.pk if other else code)


@operation
def turn_ring(world: World, a: int, b: int) -> None:
    if world.rows(Ring).exists():
        world.edit(Ring, a, next=world.pick(Ring, b))


@operation
def put_hub(world: World, a: int, b: int) -> None:
    world.make(Hub, code=str(a))


@operation
def add_leaves(world: World, a: int, b: int) -> None:
    hub = world.pick(Hub, a)
    if hub is not None:
        world.make(CascadeLeaf, name=world.name(), hub=hub)
        world.make(SetNullLeaf, name=world.name(), hub=hub)


@operation
def move_leaf(world: World, a: int, b: int) -> None:
    if world.rows(CascadeLeaf).exists():
        world.edit(CascadeLeaf, a, hub=world.pick(Hub, b))


@operation
def delete_hub(world: World, a: int, b: int) -> None:
    world.delete(Hub, a)


@operation
def add_post(world: World, a: int, b: int) -> None:
    world.make(Post, title=world.name())


@operation
def tag(world: World, a: int, b: int) -> None:
    target = world.pick((Post, Item)[b % 2], a)
    if target is not None:
        world.make(Tag, label=world.name(), target=target)


@operation
def retag(world: World, a: int, b: int) -> None:
    target = world.pick(Post, b)
    if target is not None:
        world.edit(Tag, a, target=target)


@operation
def delete_post(world: World, a: int, b: int) -> None:
    world.delete(Post, a)


# Inheritance


@operation
def add_pizzeria(world: World, a: int, b: int) -> None:
    world.make(Pizzeria, name=world.name(), stars=a, oven=world.name())


@operation
def add_place(world: World, a: int, b: int) -> None:
    world.make((Place, Restaurant)[a % 2], name=world.name())


@operation
def edit_place(world: World, a: int, b: int) -> None:
    world.edit((Place, Restaurant, Pizzeria)[b % 3], a, name=world.name())


@operation
def delete_place(world: World, a: int, b: int) -> None:
    world.delete((Place, Restaurant, Pizzeria)[b % 3], a)


@operation
def add_copier(world: World, a: int, b: int) -> None:
    world.make(Copier, ink=world.name(), lamp=world.name(), name=world.name())


@operation
def edit_copier(world: World, a: int, b: int) -> None:
    world.edit(Copier, a, ink=world.name(), lamp=world.name())


@operation
def delete_copier(world: World, a: int, b: int) -> None:
    world.delete(Copier, a)


@operation
def put_gadget(world: World, a: int, b: int) -> None:
    world.make(Gadget, code=f"g{a}", name=world.name(), weight=b)


@operation
def delete_gadget(world: World, a: int, b: int) -> None:
    world.delete(Gadget, a)


@operation
def add_truck(world: World, a: int, b: int) -> None:
    world.make(Truck, plate=world.name(), load=a)


@operation
def swap_plates(world: World, a: int, b: int) -> None:
    world.swap(Truck, "plate", "spare", a, b)


# Links


@simple
def add_paper_and_label(world: World, a: int, b: int) -> None:
    world.make(Paper, title=world.name())
    world.make(Label, name=world.name())


@simple
def link_label(world: World, a: int, b: int) -> None:
    paper, label = world.pick(Paper, a), world.pick(Label, b)
    if paper and label:
        paper.labels.add(label)


@simple
def link_paper(world: World, a: int, b: int) -> None:
    paper, label = world.pick(Paper, a), world.pick(Label, b)
    if paper and label:
        label.papers.add(paper)


@simple
def unlink_label(world: World, a: int, b: int) -> None:
    paper, label = world.pick(Paper, a), world.pick(Label, b)
    if paper and label:
        paper.labels.remove(label)


@simple
def set_labels(world: World, a: int, b: int) -> None:
    paper = world.pick(Paper, a)
    if paper:
        paper.labels.set(list(world.rows(Label).order_by("pk"))[:b])


@simple
def clear_papers(world: World, a: int, b: int) -> None:
    label = world.pick(Label, a)
    if label:
        label.papers.clear()


@operation
def delete_paper(world: World, a: int, b: int) -> None:
    world.delete(Paper, a)


@operation
def delete_label(world: World, a: int, b: int) -> None:
    world.delete(Label, a)


@operation
def add_friend(world: World, a: int, b: int) -> None:
    world.make(Friend, name=world.name())
    world.make(Fan, name=world.name())


@operation
def befriend(world: World, a: int, b: int) -> None:
    one, two = world.pick(Friend, a), world.pick(Friend, b)
    if one:
        one.friends.add(two)


@operation
def fall_out(world: World, a: int, b: int) -> None:
    one, two = world.pick(Friend, a), world.pick(Friend, b)
    if one:
        one.friends.remove(two)


@operation
def delete_friend(world: World, a: int, b: int) -> None:
    world.delete(Friend, a)


@operation
def follow(world: World, a: int, b: int) -> None:
    one, two = world.pick(Fan, a), world.pick(Fan, b)
    if one:
        one.follows.add(two)


@operation
def lose_followers(world: World, a: int, b: int) -> None:
    one = world.pick(Fan, a)
    if one:
        one.followers.clear()


@operation
def add_club(world: World, a: int, b: int) -> None:
    world.make(Club, name=world.name())
    world.make(Member, name=world.name())


@operation
def join(world: World, a: int, b: int) -> None:
    club, member = world.pick(Club, a), world.pick(Member, b)
    if club and member:
        world.make(Membership, club=club, member=member, role=world.name())


@operation
def join_by_manager(world: World, a: int, b: int) -> None:
    club, member = world.pick(Club, a), world.pick(Member, b)
    if club and member:
        member.clubs.add(club, through_defaults={"role": world.name()})


@operation
def change_role(world: World, a: int, b: int) -> None:
    world.edit(Membership, a, role=world.name(), sponsor=world.pick(Member, b))


@operation
def leave(world: World, a: int, b: int) -> None:
    world.delete(Membership, a)


@operation
def leave_by_manager(world: World, a: int, b: int) -> None:
    club, member = world.pick(Club, a), world.pick(Member, b)
    if club and member:
        club.members.remove(member)


@operation
def close_club(world: World, a: int, b: int) -> None:
    world.delete(Club, a)


@operation
def delete_member(world: World, a: int, b: int) -> None:
    world.delete(Member, a)


Step = tuple[str, int, int]


def apply(world: World, steps: Sequence[Step]) -> None:
    for name, a, b in steps:
        OPERATIONS[name](world, a, b)
