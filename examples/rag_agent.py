"""Run a LangGraph agent that decides whether to search: retrieval is a tool that it may call.

python -m examples.rag_agent
"""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import BaseTool, tool
from langchain_core.vectorstores import VectorStore
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from examples.place import a_place, console, embedding_settings, rerank_settings
from examples.rag import a_store
from examples.terminal import AnswerPrinter, calls, print_question, result
from langchain_modelstudio import ChatModelStudio, ModelStudioEmbeddings, ModelStudioRerank

QUESTIONS = ("Hello! My name is Ada.", "Which sea creature has more than one heart?")


def a_search(store: VectorStore, rerank: ModelStudioRerank) -> BaseTool:
    """Return the search tool. Its artifact is the documents with their scores."""

    @tool(response_format="content_and_artifact")
    def search(query: str) -> tuple[str, list[Document]]:
        """Search an encyclopedia of animals, food, weather and inventions. Not needed for small talk.

        Args:
            query: what to look for, as a question
        """
        found = rerank.compress_documents(store.similarity_search(query, k=8), query)
        return "\n".join(f"[{each.metadata['source']}] {each.page_content}" for each in found), [*found]

    return search


def a_graph(llm: BaseChatModel, search: BaseTool) -> Any:
    """Return a graph that alternates between model and search until the model stops calling the search."""
    model = llm.bind_tools([search])
    think = RunnableLambda(lambda state: state["messages"]) | model | (lambda message: {"messages": [message]})
    graph = StateGraph(MessagesState).add_node("think", think).add_node("tools", ToolNode([search]))
    graph.add_edge(START, "think").add_conditional_edges("think", tools_condition).add_edge("tools", "think")
    return graph.compile()


def talk(graph: Any, question: str) -> list[BaseMessage]:
    """Print the messages of one turn as they stream, and return them."""
    print_question(question)
    messages: list[BaseMessage] = []
    speech = AnswerPrinter()
    for mode, part in graph.stream({"messages": [HumanMessage(question)]}, stream_mode=["messages", "updates"]):
        if mode == "messages" and not isinstance(part[0], ToolMessage):
            speech.add_chunk(part[0])
            continue
        for update in part.values() if mode == "updates" else ():
            messages += update["messages"]
            if isinstance(update["messages"][0], ToolMessage):
                result(update["messages"][0].text)
                speech = AnswerPrinter()
            elif isinstance(update["messages"][0], AIMessage):
                calls(update["messages"][0])
    return messages


def main() -> None:
    """Send a message that needs no search, then a question that does."""
    with a_place() as place, ChatModelStudio(**place, enable_thinking=True, thinking_budget=256) as llm:
        store = a_store(ModelStudioEmbeddings(**embedding_settings(place)))
        graph = a_graph(llm, a_search(store, ModelStudioRerank(**rerank_settings(place), top_n=2)))
        for question in QUESTIONS:
            talk(graph, question)
            console.print()


if __name__ == "__main__":
    main()
