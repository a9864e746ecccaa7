from django.contrib import admin

from geo.models import City, Continent, Country, Language

admin.site.register([Continent, Language])


@admin.register(Country)
class CountryAdmin(admin.ModelAdmin):
    list_display = ["iso", "name", "continent", "population"]
    list_filter = ["continent"]
    search_fields = ["iso", "name"]
    autocomplete_fields = ["capital"]
    filter_horizontal = ["languages", "neighbours"]


@admin.register(City)
class CityAdmin(admin.ModelAdmin):
    list_display = ["name", "country", "population", "edited"]
    list_filter = ["country__continent"]
    list_select_related = ["country"]
    search_fields = ["name"]
