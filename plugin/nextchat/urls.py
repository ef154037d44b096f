"""What is below /nextchat."""

from django.urls import path

from plugin.nextchat import files, views

#: What the OpenAPI document that NextChat imports is made of.
tools = [
    path("search", views.SearchTool.as_view(), name="nextchat-search"),
    path("passage", views.PassageTool.as_view(), name="nextchat-passage"),
    path("feedback", views.FeedbackTool.as_view(), name="nextchat-feedback"),
]
urlpatterns = [
    *tools,
    path("openapi.json", files.openapi_json, name="nextchat-openapi"),
    path("plugins.json", files.plugins_json, name="nextchat-plugins"),
    path("masks.json", files.masks_json, name="nextchat-masks"),
    path("serviceWorkerRegister.js", files.register_js, name="nextchat-script"),
]
