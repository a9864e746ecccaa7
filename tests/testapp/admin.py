"""Some models are in the admin, one of them without all of its fields; others are not."""

from django.contrib import admin

from tests.testapp.models import Author, Book, Country, Label, Note, Paper, Seat

admin.site.register([Author, Book, Label, Note, Paper, Seat])


@admin.register(Country)
class CountryAdmin(admin.ModelAdmin):
    exclude = ("population",)
