"""The pydantic classes of the structured output benchmark: one per kind of shape."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Contact(BaseModel):
    """A person and how to reach them."""

    name: str
    phone: str | None = None
    email: str | None = None


class Mood(StrEnum):
    GLAD = "glad"
    NEUTRAL = "neutral"
    CROSS = "cross"


class Review(BaseModel):
    """What a customer thinks."""

    mood: Mood
    stars: int = Field(ge=1, le=5)
    summary: str = Field(max_length=120)


class Line(BaseModel):
    article: str
    count: int = Field(ge=1)
    price: Decimal = Field(ge=0, max_digits=8, decimal_places=2)


class Invoice(BaseModel):
    """A bill with its lines."""

    number: str = Field(pattern=r"^[A-Z]{2}-\d{4}$")
    day: date
    lines: list[Line] = Field(min_length=1, max_length=6)


class Stop(BaseModel):
    place: str
    minutes: int = Field(gt=0, lt=600)


class Journey(BaseModel):
    """A journey with its stops."""

    start: str
    goal: str
    stops: list[Stop] = Field(max_length=4)
    vehicle: Literal["train", "bus", "car", "bicycle", "ferry"]


class Task(BaseModel):
    """Something to do."""

    title: str = Field(min_length=3, max_length=80)
    due: date | None = None
    priority: Literal[1, 2, 3]
    done: bool = False


class Household(BaseModel):
    """Who lives together."""

    street: str
    adults: list[str] = Field(min_length=1)
    children: list[str] = []
    pets: dict[str, Literal["dog", "cat", "bird", "fish", "rabbit"]] = {}


class Cat(BaseModel):
    kind: Literal["cat"]
    indoor: bool


class Dog(BaseModel):
    kind: Literal["dog"]
    breed: str


class Visit(BaseModel):
    """A visit at the animal clinic."""

    animal: Annotated[Cat | Dog, Field(discriminator="kind")]
    owner: str
    reason: str


class Folder(BaseModel):
    """A folder and the folders in it."""

    name: str
    folders: list[Folder] = Field(default=[], max_length=4)


class Reading(BaseModel):
    """What a sensor measured."""

    sensor: str = Field(pattern=r"^[a-z]+[0-9]{1,3}$")
    celsius: float = Field(ge=-60, le=60)
    humidity: float | None = Field(default=None, ge=0, le=100)


class Booking(BaseModel):
    """A table at a restaurant."""

    name: str
    day: date
    at: time
    guests: int = Field(ge=1, le=20)
    wishes: list[str] = Field(default=[], max_length=3)


class Recipe(BaseModel):
    """How a dish is made."""

    dish: str
    serves: int = Field(ge=1, le=12)
    ingredients: list[str] = Field(min_length=2, max_length=10)
    steps: list[str] = Field(min_length=1, max_length=6)


class Point(BaseModel):
    x: float
    y: float


class Shape(BaseModel):
    """A drawing of points."""

    label: str
    corners: list[Point] = Field(min_length=3, max_length=6)


class Ticket(BaseModel):
    """A message to the help desk."""

    area: Literal["printer", "network", "account", "laptop", "other"]
    urgent: bool
    summary: str = Field(min_length=5, max_length=100)
    devices: set[str] = Field(default=set(), max_length=3)


class Meeting(BaseModel):
    """When and with whom."""

    topic: str
    begins: datetime
    ends: datetime
    people: list[str] = Field(min_length=1, max_length=8)

    @model_validator(mode="after")
    def _in_order(self) -> Meeting:
        if self.ends < self.begins:
            raise ValueError("ends lies before begins")
        return self


class Score(BaseModel):
    """How a match went."""

    home: str
    away: str
    goals: tuple[int, int]
    overtime: bool


class Grade(BaseModel):
    subject: str
    mark: Literal["A", "B", "C", "D", "E", "F"]


class Report(BaseModel):
    """A pupil's marks."""

    pupil: str
    term: int = Field(ge=1, le=3)
    grades: list[Grade] = Field(min_length=1, max_length=8)


class Parcel(BaseModel):
    """A parcel on its way."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(min_length=6, max_length=12)
    kilograms: float = Field(gt=0, le=70)
    fragile: bool
    to: str


class Address(BaseModel):
    street: str
    number: int = Field(ge=1)
    town: str
    country: str = Field(min_length=2, max_length=2, description="two letters, such as FR")


class Customer(BaseModel):
    """A customer with one or two addresses."""

    name: str
    home: Address
    billing: Address | None = None


class Verdict(BaseModel):
    """Whether a claim is backed by a text."""

    claim: str
    backed: bool | None
    why: str = Field(max_length=150)


class Order(BaseModel):
    """What a guest wants."""

    drinks: list[Literal["water", "tea", "coffee", "juice", "beer"]] = Field(max_length=6)
    dishes: list[str] = Field(max_length=6)
    table: int = Field(ge=1, le=40)


class Book(BaseModel):
    """A book on the shelf."""

    title: str
    author: str
    year: int = Field(ge=1000, le=2030)
    isbn: str | None = Field(default=None, pattern=r"^\d{13}$")


class Workout(BaseModel):
    """A training."""

    sport: Literal["run", "swim", "bike", "row", "walk"]
    kilometres: float = Field(ge=0)
    minutes: int = Field(ge=1)
    pulse: int | None = Field(default=None, ge=30, le=230)


class Dose(BaseModel):
    """A medicine and when it is taken."""

    medicine: str
    milligrams: float = Field(gt=0)
    times: list[Literal["morning", "noon", "evening", "night"]] = Field(min_length=1, max_length=4)
    with_food: bool | None = None


class Job(BaseModel):
    """An advertised position."""

    position: str
    town: str
    salary: tuple[int, int] | int | None = None
    remote: Literal["no", "partly", "fully"]


class Plant(BaseModel):
    """A plant and its care."""

    model_config = ConfigDict(strict=True)

    name: str
    water_every_days: int = Field(ge=1, le=60)
    light: Literal["shade", "half shade", "sun"]


class Device(BaseModel):
    """A device in the house."""

    id: UUID
    room: str
    on: bool
    level: int | None = Field(default=None, ge=0, le=100, multiple_of=5)


class Colour(BaseModel):
    """A colour for a wall."""

    name: str
    code: str = Field(pattern=r"^#[0-9a-fA-F]{6}$")


class Quiz(BaseModel):
    """A question with choices."""

    question: str
    choices: list[str] = Field(min_length=3, max_length=4)
    right: int = Field(ge=0, le=3)

    @model_validator(mode="after")
    def _exists(self) -> Quiz:
        if self.right >= len(self.choices):
            raise ValueError("right is no index of choices")
        return self


class Person(BaseModel):
    name: str
    born: int | None = None
    children: list[Person] = Field(default=[], max_length=3)


class Family(BaseModel):
    """A family tree from one person downwards."""

    root: Person


class Payment(BaseModel):
    """Money that moves."""

    amount: float = Field(gt=0)
    currency: Literal["EUR", "USD", "GBP", "CHF", "SEK"]
    to: str
    reference: str | None = Field(default=None, max_length=40)

    @field_validator("to")
    @classmethod
    def _not_empty(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("nobody to pay")
        return value


class Weather(BaseModel):
    """A forecast for a day."""

    place: str
    low: int
    high: int
    sky: Literal["clear", "cloudy", "rain", "snow", "storm", "fog"]


FORMS: dict[str, type[BaseModel]] = {
    form.__name__: form
    for form in (
        Contact, Review, Invoice, Journey, Task, Household, Visit, Folder, Reading, Booking,
        Recipe, Shape, Ticket, Meeting, Score, Report, Parcel, Customer, Verdict, Order, Book,
        Workout, Dose, Job, Plant, Device, Colour, Quiz, Family, Payment, Weather,
    )
}  # fmt: skip
